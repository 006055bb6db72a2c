//! The bytes between us and a server reached by TCP: plain or TLS, as `sslmode` says.
//!
//! The driver could do this itself, but it closes a cancel request's connection at once. libpq
//! waits for the server to close it, and pgbouncer 1.18, the one of Debian 12, dies of a client
//! that does not. So the driver is told that TLS begins at the first byte, and everything from
//! there on happens here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use openssl::error::ErrorStack;
use postgres::config::{SslMode, SslNegotiation};
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use postgres::{CancelToken, Socket};
use postgres_openssl::{MakeTlsConnector, TlsConnector};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `SSLRequest` of the protocol.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How long a cancel request waits for the server to close its connection.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// Makes streams.
#[derive(Clone)]
pub(crate) struct Transport {
    tls: MakeTlsConnector,
    mode: SslMode,
    negotiation: SslNegotiation,
    /// The driver has agreed with the server on TLS: where some hosts are socket files.
    agreed: bool,
    /// Closing means to wait until the other side has closed.
    waits_for_end: bool,
}

impl Transport {
    pub(crate) fn new(
        tls: MakeTlsConnector,
        mode: SslMode,
        negotiation: SslNegotiation,
        agreed: bool,
    ) -> Self {
        Self { tls, mode, negotiation, agreed, waits_for_end: false }
    }

    /// Send a cancel request, and wait until the server has taken it: then it closes the
    /// connection.
    pub(crate) fn cancel(&self, token: &CancelToken) -> Result<(), postgres::Error> {
        token.cancel_query(Self { waits_for_end: true, ..self.clone() })
    }
}

impl MakeTlsConnect<Socket> for Transport {
    type Stream = Stream;
    type TlsConnect = Negotiation;
    type Error = ErrorStack;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Negotiation, ErrorStack> {
        let tls = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls, domain)?;
        Ok(Negotiation { tls, transport: self.clone() })
    }
}

/// Agrees with the server on TLS or plain text.
pub(crate) struct Negotiation {
    tls: TlsConnector,
    transport: Transport,
}

impl TlsConnect<Socket> for Negotiation {
    type Stream = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(self.negotiate(socket))
    }
}

impl Negotiation {
    async fn negotiate(self, mut socket: Socket) -> Result<Stream, BoxError> {
        let Transport { mode, negotiation, agreed, waits_for_end, .. } = self.transport;
        let patience = waits_for_end.then(|| Box::pin(tokio::time::sleep(CANCEL_PATIENCE)));
        let encrypted = mode != SslMode::Disable
            && (agreed || negotiation == SslNegotiation::Direct || offers_tls(&mut socket).await?);
        let bytes = match mode {
            _ if encrypted => Bytes::Tls(Box::new(self.tls.connect(socket).await?)),
            SslMode::Require => return Err("server does not support TLS".into()),
            _ => Bytes::Plain(socket),
        };
        Ok(Stream { bytes, patience })
    }
}

async fn offers_tls(socket: &mut Socket) -> io::Result<bool> {
    socket.write_all(&SSL_REQUEST).await?;
    let mut answer = [0];
    socket.read_exact(&mut answer).await?;
    Ok(answer == *b"S")
}

enum Bytes {
    Plain(Socket),
    Tls(Box<postgres_openssl::TlsStream<Socket>>),
}

/// A stream to the server.
pub(crate) struct Stream {
    bytes: Bytes,
    /// Of a cancel request: how long to wait for the other side to close.
    patience: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Bytes::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Bytes::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_flush(context),
            Bytes::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(patience) = &mut self.patience {
            if patience.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut space = [0; 64];
            loop {
                let mut buffer = ReadBuf::new(&mut space);
                // However it ends, it has ended.
                let read = ready!(self.as_mut().poll_read(context, &mut buffer));
                if read.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Bytes::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.bytes {
            Bytes::Plain(_) => ChannelBinding::none(),
            Bytes::Tls(stream) => stream.channel_binding(),
        }
    }
}
