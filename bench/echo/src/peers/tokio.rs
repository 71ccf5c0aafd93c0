//! Tokio, its runtime of one thread.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{READ_BYTES, took_since};
use crate::{Took, cpu_time};

pub(super) fn serve(tell: &Sender<SocketAddr>, stop: &AtomicBool) -> io::Result<Took> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
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
                tokio::spawn(echo(stream));
            }
        })
        .map(|()| took_since(begun))
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
