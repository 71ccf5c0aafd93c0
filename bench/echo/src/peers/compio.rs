//! Compio on io_uring.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::Runtime;

use super::{READ_BYTES, took_since};
use crate::{Took, cpu_time};

pub(super) fn serve(tell: &Sender<SocketAddr>, stop: &AtomicBool) -> io::Result<Took> {
    let runtime = Runtime::new()?;
    let begun = cpu_time();
    runtime
        .block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            tell.send(listener.local_addr()?).map_err(io::Error::other)?;
            loop {
                let (stream, _) = listener.accept().await?;
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                stream.set_nodelay(true)?;
                compio::runtime::spawn(echo(stream)).detach();
            }
        })
        .map(|()| took_since(begun))
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        let BufResult(read, bytes) = stream.read(buffer).await;
        let count = read?;
        if count == 0 {
            return Ok(());
        }
        let BufResult(written, slice) = stream.write_all(bytes.slice(..count)).await;
        written?;
        buffer = slice.into_inner();
        buffer.clear();
    }
}
