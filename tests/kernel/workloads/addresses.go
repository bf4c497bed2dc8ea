// Tells where some of its own things lie: `KIND NAME ADDRESS` for each, then READY, and waits.
package main

import (
	"fmt"
	"time"
	"unsafe"
)

var zeros [1 << 20]byte
var initialised = [4096]int64{1, 2, 3}

const constant = "a constant of the program"

func function() {}

func main() {
	function := function
	text := constant
	made := make([]byte, 1<<20)
	zeros[1<<19] = 1
	initialised[5] = 1
	fmt.Printf("text function 0x%x\n", **(**uintptr)(unsafe.Pointer(&function)))
	fmt.Printf("rodata constant 0x%x\n", *(*uintptr)(unsafe.Pointer(&text)))
	fmt.Printf("data initialised %p\n", &initialised[2048])
	fmt.Printf("bss zeros %p\n", &zeros[1<<19])
	fmt.Printf("anon made %p\n", &made[0])
	fmt.Println("READY")
	for {
		time.Sleep(time.Hour)
	}
}
