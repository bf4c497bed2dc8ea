// Asks for its parent's pid, and for the time, again and again.
//
// syscall_cost TIMES CLOCK_TIMES
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"
)

var input = bufio.NewReader(os.Stdin)

// tell says something and waits to be told to go on.
func tell(facts string) {
	fmt.Println(facts)
	if _, err := input.ReadString('\n'); err != nil {
		os.Exit(0)
	}
}

func main() {
	time.AfterFunc(time.Hour, func() { os.Exit(1) }) // so that nothing stays for ever
	times, _ := strconv.Atoi(os.Args[1])
	clockTimes, _ := strconv.Atoi(os.Args[2])
	tell(fmt.Sprint("pid ", os.Getpid()))
	for i := 0; i < times; i++ {
		os.Getppid()
	}
	for i := 0; i < clockTimes; i++ {
		time.Now()
	}
	tell(fmt.Sprint("pid ", os.Getpid()))
}
