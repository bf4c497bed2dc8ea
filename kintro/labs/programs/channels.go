// A writer and a reader with a pipe and a socket between them. The reader does not read; the writer ends.
//
// channels PIPE_BYTES SOCKET_BYTES READER_FIRST
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
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

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write is what the writer does: it writes, says so, and ends when it is told to.
func write(pipeBytes, socketBytes int) {
	pipe, socket, ready, end := os.NewFile(3, "pipe"), os.NewFile(4, "socket"), os.NewFile(5, "ready"), os.NewFile(6, "end")
	pipe.Write(bytes.Repeat([]byte("p"), pipeBytes))
	socket.Write(bytes.Repeat([]byte("s"), socketBytes))
	ready.Write([]byte("!"))
	end.Read(make([]byte, 1))
}

// start runs this program again, as the writer or the reader, with these files from descriptor 3 on.
func start(role string, files ...*os.File) *exec.Cmd {
	command := exec.Command("/proc/self/exe", append([]string{role}, os.Args[1:]...)...)
	command.ExtraFiles, command.Stderr = files, os.Stderr
	must(command.Start())
	return command
}

func inode(file *os.File) uint64 {
	info, err := file.Stat()
	must(err)
	return info.Sys().(*syscall.Stat_t).Ino
}

func main() {
	time.AfterFunc(time.Hour, func() { os.Exit(1) }) // so that nothing stays for ever
	if os.Args[1] == "read" {
		select {}
	}
	numbers := os.Args[len(os.Args)-3:]
	pipeBytes, err := strconv.Atoi(numbers[0])
	must(err)
	socketBytes, err := strconv.Atoi(numbers[1])
	must(err)
	if os.Args[1] == "write" {
		write(pipeBytes, socketBytes)
		return
	}
	pipeRead, pipeWrite, err := os.Pipe()
	must(err)
	readyRead, readyWrite, err := os.Pipe()
	must(err)
	endRead, endWrite, err := os.Pipe()
	must(err)
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(err)
	writerEnd, readerEnd := os.NewFile(uintptr(ends[0]), "writer"), os.NewFile(uintptr(ends[1]), "reader")

	var writer, reader, first, second *exec.Cmd
	if numbers[2] == "1" {
		reader = start("read", pipeRead, readerEnd)
		writer = start("write", pipeWrite, writerEnd, readyWrite, endRead)
		first, second = reader, writer
	} else {
		writer = start("write", pipeWrite, writerEnd, readyWrite, endRead)
		reader = start("read", pipeRead, readerEnd)
		first, second = writer, reader
	}
	inodes := fmt.Sprintf("pipe_inode %d socket_inode %d", inode(pipeRead), inode(readerEnd))
	for _, file := range []*os.File{pipeRead, pipeWrite, writerEnd, readerEnd} {
		file.Close()
	}
	readyRead.Read(make([]byte, 1))
	tell(fmt.Sprintf("first_pid %d second_pid %d %s", first.Process.Pid, second.Process.Pid, inodes))
	endWrite.Write([]byte("!"))
	writer.Wait()
	tell(inodes)
}
