package upgrade_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"example.com/supervisor/fdpass"
)

// envKnock makes this test binary a process that comes to a rendezvous.
const envKnock = "UPGRADE_TEST_KNOCK"

// knock comes to the rendezvous at the path that the first line of its input
// names, says the rejoin that the second is, and how that went. It stays until
// the end of its input.
func knock() int {
	in := bufio.NewReader(os.Stdin)
	path, err := in.ReadString('\n')
	if err != nil {
		return 0 // it was not needed
	}
	line, err := in.ReadBytes('\n')
	if err != nil {
		return 0
	}
	var r fdpass.Rejoin
	if err := json.Unmarshal(line, &r); err != nil {
		fmt.Println(err)
		return 1
	}
	c, err := fdpass.DialRendezvous(path[:len(path)-1])
	if err != nil {
		fmt.Println("cannot connect:", err)
	} else if _, err = fdpass.GiveBack(c, r, nil); err != nil {
		fmt.Println("refused:", err)
	} else {
		fmt.Println("welcome")
	}
	_, _ = io.Copy(io.Discard, in)
	return 0
}
