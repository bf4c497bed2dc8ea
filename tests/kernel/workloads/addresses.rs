// Tells where some of its own things lie: `KIND NAME ADDRESS` for each, then READY, and waits.
static mut ZEROS: [u8; 300000] = [0; 300000];
static CONSTANT: [u8; 8192] = [7; 8192];

fn function() {}

fn main() {
    let local = 1;
    let boxed = vec![1u8; 64 << 20];
    unsafe { ZEROS[150000] = 1 };
    println!("text function {:p}", function as *const ());
    println!("bss ZEROS {:p}", unsafe { std::ptr::addr_of!(ZEROS[150000]) });
    println!("rodata CONSTANT {:p}", &CONSTANT[4096]);
    println!("stack local {:p}", &local);
    println!("anon boxed {:p}", &boxed[32 << 20]);
    println!("heap small {:p}", &*Box::new(1));
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let local = 1;
        println!("thread-stack local {:p}", &local);
        send.send(()).unwrap();
        loop {
            std::thread::park();
        }
    });
    receive.recv().unwrap();
    println!("READY");
    loop {
        std::thread::park();
    }
}
