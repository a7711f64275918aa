//! Says hello on the console and ends: the least that a guest can do. Three calls: CON.WRITE twice and CORE.EXIT.
#![cfg_attr(target_os = "none", no_std, no_main)]

use strato_guest::{Info, println};

strato_guest::entry!(hello);

fn hello(info: &'static Info) {
    println!("Hello, I am {} with {} KiB of memory.", info.label(), (info.ram().end - info.ram().start) / 1024);
    println!("hello: ok");
}
