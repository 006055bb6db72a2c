//! The bytes between us and a server reached by TCP: plain or TLS, as `sslmode` says.
//!
//! The driver could do this itself, but it closes a cancel request's connection at once. libpq
//! waits for the server to close it, and pgbouncer 1.18, the one of Debian 12, dies of a client
//! that does not. So the driver is told that TLS begins at the first byte, and everything from
//! there on happens here.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use postgres::{CancelToken, Socket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

/// Whatever went wrong.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A stream that nobody else can read.
pub trait SecretStream: TlsStream + Unpin + Send {}

impl<T: TlsStream + Unpin + Send> SecretStream for T {}

/// A handshake on its way.
pub type Handshake = Pin<Box<dyn Future<Output = Result<Box<dyn SecretStream>, BoxError>> + Send>>;

/// What encrypts connections, by the options that it was made of. It is a crate of its own
/// (`pgq_tls`), so that a program which never connects by TLS does not load OpenSSL.
pub trait Tls: Send + Sync {
    /// Shake hands with a server that expects it. `host` is the name it was asked for by; empty
    /// where there is none.
    fn encrypt(&self, socket: Socket, host: &str) -> Handshake;
}

/// `SSLRequest` of the protocol.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How long a cancel request waits for the server to close its connection.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// How client and server come to TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// There is no connection without.
    pub(crate) demanded: bool,
    /// It begins at the first byte: the server is not asked.
    pub(crate) at_once: bool,
    /// The driver has agreed with the server on TLS: where some hosts are socket files.
    pub(crate) agreed: bool,
}

/// Makes streams.
#[derive(Clone)]
pub(crate) struct Transport {
    /// None: plain text.
    tls: Option<Arc<dyn Tls>>,
    rules: Rules,
    /// Closing means to wait until the other side has closed.
    waits_for_end: bool,
}

impl Transport {
    pub(crate) fn new(tls: Option<Arc<dyn Tls>>, rules: Rules) -> Self {
        Self { tls, rules, waits_for_end: false }
    }

    /// Send a cancel request, and wait until the server has taken it: then it closes the
    /// connection.
    pub(crate) fn cancel(&self, token: &CancelToken) -> Result<(), postgres::Error> {
        token.cancel_query(self.until_taken())
    }

    /// For a cancel request: closing waits until the server has closed.
    pub(crate) fn until_taken(&self) -> Self {
        Self { waits_for_end: true, ..self.clone() }
    }
}

impl MakeTlsConnect<Socket> for Transport {
    type Stream = Stream;
    type TlsConnect = Negotiation;
    type Error = Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<Negotiation, Infallible> {
        Ok(Negotiation { transport: self.clone(), host: host.to_owned() })
    }
}

/// Agrees with the server on TLS or plain text.
pub(crate) struct Negotiation {
    transport: Transport,
    host: String,
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
        let Transport { tls, rules, waits_for_end } = self.transport;
        let patience = waits_for_end.then(|| Box::pin(tokio::time::sleep(CANCEL_PATIENCE)));
        let bytes = match tls {
            None => Bytes::Plain(socket),
            Some(tls) if rules.agreed || rules.at_once || offers_tls(&mut socket).await? => {
                Bytes::Secret(tls.encrypt(socket, &self.host).await?)
            }
            Some(_) if rules.demanded => return Err("server does not support TLS".into()),
            Some(_) => Bytes::Plain(socket),
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
    Secret(Box<dyn SecretStream>),
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
            Bytes::Secret(stream) => Pin::new(stream).poll_read(context, buffer),
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
            Bytes::Secret(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_flush(context),
            Bytes::Secret(stream) => Pin::new(stream).poll_flush(context),
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
            Bytes::Secret(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.bytes {
            Bytes::Plain(_) => ChannelBinding::none(),
            Bytes::Secret(stream) => stream.channel_binding(),
        }
    }
}
