package fdpass_test

import (
	"fmt"
	"log"
	"os"
	"os/exec"

	"example.com/supervisor/fdpass"
)

// A supervisor starts a program with one end of a channel and hands it a
// listener that it holds as a raw descriptor.
func ExampleOffer() {
	listener := 7 // from socket(2) or from systemd

	channel, theirs, err := fdpass.Pair()
	if err != nil {
		log.Fatal(err)
	}
	defer channel.Close()
	cmd := exec.Command("/srv/api/current/api")
	cmd.Env = append(os.Environ(), fdpass.EnvFD+"=3")
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	theirs.Close()

	l, err := fdpass.Describe("http", listener)
	if err != nil {
		log.Fatal(err)
	}
	welcome := fdpass.Welcome{Service: "api", Generation: 1}
	hello, err := fdpass.Offer(channel, welcome, -1, []fdpass.Listener{l})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("process", hello.PID, "holds", l.Name)
}

// A child finds its channel in the environment and takes the listeners.
func ExampleAccept() {
	channel, err := fdpass.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	_, listeners, _, err := fdpass.Accept(channel, fdpass.Hello{Library: "example"})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range listeners {
		fmt.Println(l.Name, l.Network, l.Address, "is descriptor", l.FD)
	}
	if err := channel.Send(fdpass.Ready{}); err != nil {
		log.Fatal(err)
	}
}
