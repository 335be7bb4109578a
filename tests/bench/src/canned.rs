//! An upstream that costs next to nothing: it looks for the end of each request head and answers with the same bytes.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// 100 bytes of body.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n\
0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

const HEAD_END: [u8; 4] = *b"\r\n\r\n";

/// Serves until the process is killed.
pub(crate) fn serve(address: SocketAddr) -> Result<Value, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let listener =
            TcpListener::bind(address).await.map_err(|error| format!("cannot bind {address}: {error}"))?;
        loop {
            let (socket, _) = listener.accept().await.map_err(|error| error.to_string())?;
            drop(socket.set_nodelay(true));
            tokio::spawn(answer(socket));
        }
    })
}

async fn answer(mut socket: TcpStream) {
    let mut buffer = [0_u8; 16 * 1024];
    // How much of the end of a head the last bytes were.
    let mut matched = 0;
    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
        let mut heads = 0;
        for byte in buffer.iter().take(count) {
            matched = match HEAD_END.get(matched) {
                Some(wanted) if wanted == byte => matched + 1,
                _ => usize::from(*byte == b'\r'),
            };
            if matched == HEAD_END.len() {
                (heads, matched) = (heads + 1, 0);
            }
        }
        for _ in 0..heads {
            if socket.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}
