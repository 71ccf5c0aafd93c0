//! Monoio on io_uring.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use monoio::buf::IoBuf;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::{READ_BYTES, took_since};
use crate::{Took, cpu_time};

pub(super) fn serve(tell: &Sender<SocketAddr>, stop: &AtomicBool) -> io::Result<Took> {
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().build()?;
    let begun = cpu_time();
    runtime
        .block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            tell.send(listener.local_addr()?).map_err(io::Error::other)?;
            loop {
                let (stream, _) = listener.accept().await?;
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                stream.set_nodelay(true)?;
                monoio::spawn(echo(stream));
            }
        })
        .map(|()| took_since(begun))
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let (read, bytes) = stream.read(buffer).await;
        let count = read?;
        if count == 0 {
            return Ok(());
        }
        let (written, slice) = stream.write_all(bytes.slice(..count)).await;
        written?;
        buffer = slice.into_inner();
    }
}
