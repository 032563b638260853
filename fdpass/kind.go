package fdpass

import (
	"encoding/json"
	"fmt"
)

func (Hello) kind() string     { return "hello" }
func (Welcome) kind() string   { return "welcome" }
func (Listeners) kind() string { return "listeners" }
func (Received) kind() string  { return "received" }
func (Ready) kind() string     { return "ready" }
func (Failed) kind() string    { return "failed" }
func (Pause) kind() string     { return "pause" }
func (Resume) kind() string    { return "resume" }
func (Drain) kind() string     { return "drain" }
func (Paused) kind() string    { return "paused" }
func (Resumed) kind() string   { return "resumed" }
func (Hold) kind() string      { return "hold" }
func (Drained) kind() string   { return "drained" }
func (Stats) kind() string     { return "stats" }
func (Error) kind() string     { return "error" }
func (Rejoin) kind() string    { return "rejoin" }

func decodeKind(kind string, data []byte) (Message, error) {
	switch kind {
	case Hello{}.kind():
		return decodeAs[Hello](data)
	case Welcome{}.kind():
		return decodeAs[Welcome](data)
	case Listeners{}.kind():
		return decodeAs[Listeners](data)
	case Received{}.kind():
		return decodeAs[Received](data)
	case Ready{}.kind():
		return decodeAs[Ready](data)
	case Failed{}.kind():
		return decodeAs[Failed](data)
	case Pause{}.kind():
		return decodeAs[Pause](data)
	case Resume{}.kind():
		return decodeAs[Resume](data)
	case Drain{}.kind():
		return decodeAs[Drain](data)
	case Paused{}.kind():
		return decodeAs[Paused](data)
	case Resumed{}.kind():
		return decodeAs[Resumed](data)
	case Hold{}.kind():
		return decodeAs[Hold](data)
	case Drained{}.kind():
		return decodeAs[Drained](data)
	case Stats{}.kind():
		return decodeAs[Stats](data)
	case Error{}.kind():
		return decodeAs[Error](data)
	case Rejoin{}.kind():
		return decodeAs[Rejoin](data)
	}
	return nil, fmt.Errorf("%w to protocol version %d", ErrUnknownType, Protocol)
}

func decodeAs[M Message](data []byte) (Message, error) {
	var m M
	err := json.Unmarshal(data, &m)
	return m, err
}
