package handover

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// seals are what makes a memfd unchangeable: memfd_create(2).
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// Memfd returns a descriptor of s in memory that nobody can change any more. It
// is close-on-exec, and the caller owns it.
func Memfd(s State) (fd int, err error) {
	data, err := Encode(s)
	if err != nil {
		return -1, err
	}
	fd, err = create()
	if err != nil {
		return -1, fmt.Errorf("cannot make a memfd for the state: %w", err)
	}
	if err := fill(fd, data); err != nil {
		return -1, errors.Join(fmt.Errorf("cannot put the state into a memfd: %w", err), unix.Close(fd))
	}
	return fd, nil
}

// create asks for a file that cannot be executed, which some systems demand
// (vm.memfd_noexec of 6.3) and older ones do not know.
func create() (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(magic, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(magic, flags)
	}
	return fd, err
}

func fill(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	return err
}

// FromMemfd reads the state in a memfd that Memfd made. It borrows fd and does
// not move its offset.
func FromMemfd(fd int) (State, error) {
	data, err := unseal(fd)
	if err != nil {
		return State{}, fmt.Errorf("cannot read the state from descriptor %d: %w", fd, err)
	}
	return Decode(data)
}

func unseal(fd int) ([]byte, error) {
	set, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if errors.Is(err, unix.EINVAL) {
		return nil, errors.New("it is no memfd")
	}
	if err != nil {
		return nil, err
	}
	if set&seals != seals {
		return nil, fmt.Errorf("it can still be changed (seals %#x in place of %#x)", set, seals)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size > maxHeader+maxSize {
		return nil, fmt.Errorf("it has %d bytes, and %d is the limit", st.Size, maxHeader+maxSize)
	}
	data := make([]byte, st.Size)
	for at := 0; at < len(data); {
		n, err := unix.Pread(fd, data[at:], int64(at))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n == 0:
			return nil, io.ErrUnexpectedEOF
		default:
			at += n
		}
	}
	return data, nil
}
