package main

import (
	"fmt"

	"example.com/supervisor/internal/cgroup"
)

// memoryObjection says why there is no memory for a second generation, or is
// nil. It is expected to need as much as the active one uses.
func memoryObjection(need uint64, room cgroup.Room) error {
	if room.Free >= need {
		return nil
	}
	return fmt.Errorf("the active generation uses %s and only %s are left for a second one (%s)",
		sizeInWords(need), sizeInWords(room.Free), room.Source)
}

// objectToMemory asks what there is and what is needed. What cannot be known is
// no objection.
func (w *watcher) objectToMemory() error {
	if w.need == nil {
		return nil
	}
	need, known := w.need()
	if !known {
		return nil
	}
	room, err := w.room()
	if err != nil {
		w.log.Warn("cannot tell whether there is memory for two generations", "error", err)
		return nil
	}
	return memoryObjection(need, room)
}

// sizeInWords writes an amount of memory for people.
func sizeInWords(bytes uint64) string {
	const mebi = 1 << 20
	if bytes < 10*mebi {
		return fmt.Sprintf("%.1f MiB", float64(bytes)/mebi)
	}
	return fmt.Sprintf("%d MiB", bytes/mebi)
}
