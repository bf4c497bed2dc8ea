// Two processes on one CPU hand a byte to and fro through pipes.
//
// ping_pong ROUNDS
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

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

// stay keeps this thread, and whom it starts, on the last CPU that is allowed.
func stay() {
	var allowed, one [128]uint64
	size := unsafe.Sizeof(allowed)
	syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, size, uintptr(unsafe.Pointer(&allowed)))
	for cpu := len(allowed)*64 - 1; cpu >= 0; cpu-- {
		if allowed[cpu/64]&(1<<(cpu%64)) != 0 {
			one[cpu/64] = 1 << (cpu % 64)
			break
		}
	}
	syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, size, uintptr(unsafe.Pointer(&one)))
}

// pong answers each byte until there are no more.
func pong() {
	byte := make([]byte, 1)
	for {
		if n, _ := syscall.Read(3, byte); n != 1 {
			return
		}
		syscall.Write(4, byte)
	}
}

func init() {
	runtime.LockOSThread() // main stays on the first thread, whose tid is the pid
}

func main() {
	time.AfterFunc(time.Hour, func() { os.Exit(1) }) // so that nothing stays for ever
	if os.Args[1] == "pong" {
		pong()
		return
	}
	rounds, err := strconv.Atoi(os.Args[1])
	must(err)
	stay()
	var ping, back [2]int
	must(syscall.Pipe2(ping[:], syscall.O_CLOEXEC))
	must(syscall.Pipe2(back[:], syscall.O_CLOEXEC))
	other := exec.Command("/proc/self/exe", "pong")
	other.ExtraFiles = []*os.File{os.NewFile(uintptr(ping[0]), "ping"), os.NewFile(uintptr(back[1]), "pong")}
	must(other.Start())
	for _, file := range other.ExtraFiles {
		file.Close()
	}
	facts := fmt.Sprintf("first_pid %d other_pid %d", os.Getpid(), other.Process.Pid)
	tell(facts)
	byte := []byte("!")
	for i := 0; i < rounds; i++ {
		syscall.Write(ping[1], byte)
		syscall.Read(back[0], byte)
	}
	tell(facts)
}
