// Holds signals back for a while, and then takes them.
//
// signals SIGNAL
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const realTime = syscall.Signal(35) // Go keeps the first one, 34, for itself as the C library does with 32 and 33

var input = bufio.NewReader(os.Stdin)

// tell says something and waits to be told to go on.
func tell(facts string) {
	fmt.Println(facts)
	if _, err := input.ReadString('\n'); err != nil {
		os.Exit(0)
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// holdBack begins this program anew with signals blocked. A mask is a thread's, and a Go program has several:
// what they all have is the mask that the program began with.
func holdBack(numbers ...syscall.Signal) {
	runtime.LockOSThread()
	var mask uint64
	for _, number := range numbers {
		mask |= 1 << (number - 1)
	}
	_, _, failed := syscall.RawSyscall6(
		syscall.SYS_RT_SIGPROCMASK, 0 /* SIG_BLOCK */, uintptr(unsafe.Pointer(&mask)), 0, 8, 0, 0)
	if failed != 0 {
		must(failed)
	}
	// Else Go interrupts its own goroutines by signals, which would be counted as well.
	must(syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), "HELD_BACK=1", "GODEBUG=asyncpreemptoff=1")))
}

func main() {
	time.AfterFunc(time.Hour, func() { os.Exit(1) }) // so that nothing stays for ever
	number, err := strconv.Atoi(os.Args[1])
	must(err)
	if os.Getenv("HELD_BACK") == "" {
		holdBack(syscall.Signal(number), realTime)
	}
	tell(fmt.Sprintf("pid %d", os.Getpid()))
	taken := make(chan os.Signal, 100)
	signal.Notify(taken, syscall.Signal(number), realTime) // also lets them through, in one thread
	for waiting := true; waiting; {
		select {
		case <-taken:
		case <-time.After(200 * time.Millisecond):
			waiting = false
		}
	}
	tell(fmt.Sprintf("pid %d", os.Getpid()))
}
