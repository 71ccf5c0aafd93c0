//! Glommio, one executor.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::LocalExecutorBuilder;
use glommio::net::{TcpListener, TcpStream};

use super::{READ_BYTES, took_since};
use crate::{Took, cpu_time};

pub(super) fn serve(tell: &Sender<SocketAddr>, stop: &AtomicBool) -> io::Result<Took> {
    let executor = LocalExecutorBuilder::default().make()?;
    let begun = cpu_time();
    executor
        .run(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            tell.send(listener.local_addr()?).map_err(io::Error::other)?;
            loop {
                let stream = listener.accept().await?;
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                stream.set_nodelay(true)?;
                glommio::spawn_local(echo(stream)).detach();
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
