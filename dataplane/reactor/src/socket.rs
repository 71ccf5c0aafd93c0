//! What a socket is told before bytes flow: options per profile, and addresses in the kernel's form.
//!
//! It does not know drivers. **Invariant:** the congestion control of a socket is one that we chose, or the report says which one the host
//! forced on us.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::driver::SocketProfile;

/// Connections that wait to be accepted, per listener; the host's `somaxconn` bounds it. The standard library asks for 128, which a burst of
/// clients overruns.
pub const BACKLOG: i32 = 4_096;

/// Options of one profile (docs/decisions/0005-tcp-options.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// How long the peer may be silent before it is probed. Whole seconds, at least one.
    pub keepalive_idle: Duration,
    /// Time between probes. Whole seconds, at least one.
    pub keepalive_interval: Duration,
    /// Unanswered probes after which the peer is gone.
    pub keepalive_probes: u32,
    /// How long sent bytes may stay unacknowledged before the peer is gone.
    pub user_timeout: Duration,
    /// `SO_SNDBUF` in bytes; `None` leaves the kernel's own tuning on, which a fixed size would end.
    pub send_buffer: Option<u32>,
    /// `SO_RCVBUF` in bytes; `None` as above.
    pub receive_buffer: Option<u32>,
}

impl SocketOptions {
    /// Links between nodes: a half-open peer is noticed within about 8 s even where nothing is sent. Heartbeats notice it earlier; this is
    /// what frees the socket.
    pub const LINK: Self = Self {
        keepalive_idle: Duration::from_secs(5),
        keepalive_interval: Duration::from_secs(1),
        keepalive_probes: 3,
        user_timeout: Duration::from_secs(8),
        send_buffer: None,
        receive_buffer: None,
    };
    /// Clients: may sleep on a mobile network for half a minute.
    pub const CLIENT: Self = Self {
        keepalive_idle: Duration::from_secs(30),
        keepalive_interval: Duration::from_secs(10),
        keepalive_probes: 3,
        user_timeout: Duration::from_secs(30),
        send_buffer: None,
        receive_buffer: None,
    };

    /// Listens, so that each connection has these options from the first one on: one that comes before a driver has the listener inherits
    /// what the listener has then. With `shared`, others may listen on the same port, and the kernel spreads connections over them.
    ///
    /// # Errors
    /// The kernel's, `AddrInUse` where another process listens.
    pub fn listen(&self, address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
        let socket = new_socket(family(address), SocketFlags::CLOEXEC)?;
        // A process that restarts finds the connections of its former life in TIME_WAIT on this port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if shared {
            sockopt::set_socket_reuseport(&socket, true)?;
        }
        self.apply(socket.as_fd(), &Congestion::probe()?)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    }

    fn apply(&self, socket: BorrowedFd<'_>, congestion: &Congestion) -> io::Result<()> {
        sockopt::set_tcp_nodelay(socket, true)?;
        match congestion {
            Congestion::HostDefault(_) => {}
            chosen => sockopt::set_tcp_congestion(socket, chosen.name())?,
        }
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, self.keepalive_idle)?;
        sockopt::set_tcp_keepintvl(socket, self.keepalive_interval)?;
        sockopt::set_tcp_keepcnt(socket, self.keepalive_probes)?;
        let user_timeout_ms = u32::try_from(self.user_timeout.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(socket, user_timeout_ms)?;
        if let Some(bytes) = self.send_buffer {
            sockopt::set_socket_send_buffer_size(socket, bytes as usize)?;
        }
        if let Some(bytes) = self.receive_buffer {
            sockopt::set_socket_recv_buffer_size(socket, bytes as usize)?;
        }
        Ok(())
    }
}

/// The congestion control in force on the driver's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// What we ask for first.
    Cubic,
    /// What we ask for where the user may not choose cubic.
    Reno,
    /// Neither could be set: the host's default, by name. Nothing is wrong, but with `bbr` figures fluctuate; the operator may allow cubic
    /// in `net.ipv4.tcp_allowed_congestion_control`.
    HostDefault(Box<str>),
}

impl Congestion {
    /// Tries once, on a socket made for the purpose, what this process may set.
    pub(crate) fn probe() -> io::Result<Self> {
        let socket = new_socket(AddressFamily::INET, SocketFlags::CLOEXEC)?;
        for wanted in [Self::Cubic, Self::Reno] {
            if sockopt::set_tcp_congestion(&socket, wanted.name()).is_ok() {
                return Ok(wanted);
            }
        }
        Ok(Self::HostDefault(sockopt::tcp_congestion(&socket)?.into()))
    }

    /// Its name as the kernel has it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Cubic => "cubic",
            Self::Reno => "reno",
            Self::HostDefault(name) => name,
        }
    }
}

impl fmt::Display for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostDefault(name) => write!(f, "{name} (the host's default; neither cubic nor reno may be set)"),
            chosen => f.write_str(chosen.name()),
        }
    }
}

/// The options of both profiles, with the congestion control that was found to be allowed.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) link: SocketOptions,
    pub(crate) client: SocketOptions,
    pub(crate) congestion: Congestion,
}

impl Options {
    /// Sets everything. A socket that is accepted inherits all of it from its listener, so an accept costs no further system call.
    fn apply(&self, socket: BorrowedFd<'_>, profile: SocketProfile) -> io::Result<()> {
        let options = match profile {
            SocketProfile::Link => &self.link,
            SocketProfile::Client | SocketProfile::Edge => &self.client,
        };
        options.apply(socket, &self.congestion)
    }

    /// Makes a listener ready for a driver, wherever it comes from.
    pub(crate) fn prepare_listener(
        &self,
        listener: &TcpListener,
        profile: SocketProfile,
        nonblocking: bool,
    ) -> io::Result<()> {
        self.apply(listener.as_fd(), profile)?;
        listener.set_nonblocking(nonblocking)?;
        rustix::net::listen(listener, BACKLOG)?;
        Ok(())
    }

    /// A socket to connect to `address` with.
    pub(crate) fn socket_to(
        &self,
        address: SocketAddr,
        profile: SocketProfile,
        nonblocking: bool,
    ) -> io::Result<OwnedFd> {
        let mut flags = SocketFlags::CLOEXEC;
        flags.set(SocketFlags::NONBLOCK, nonblocking);
        let socket = new_socket(family(address), flags)?;
        self.apply(socket.as_fd(), profile)?;
        Ok(socket)
    }
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    }
}

fn new_socket(family: AddressFamily, flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        family,
        SocketType::STREAM,
        flags,
        Some(ipproto::TCP),
    )?)
}

/// Makes the close of a socket a reset. Where a peer is cut off that did not end its own side, a plain close would leave it writing into
/// a closed window until the kernel forgets the socket, a minute later.
pub(crate) fn reset_on_close(socket: BorrowedFd<'_>) {
    // Refused only by a socket that is gone already.
    sockopt::set_socket_linger(socket, Some(Duration::ZERO)).ok();
}

/// The address of a connected socket's other end.
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let peer = rustix::net::getpeername(socket)?.ok_or(io::ErrorKind::NotConnected)?;
    Ok(SocketAddr::try_from(peer)?)
}

/// An address in the form that the kernel reads, at an address that does not move.
pub(crate) enum RawAddress {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl RawAddress {
    pub(crate) fn new(address: SocketAddr) -> Box<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "address families are small numbers; the field is 16 bits wide"
        )]
        Box::new(match address {
            SocketAddr::V4(v4) => Self::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => Self::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            }),
        })
    }

    pub(crate) fn pointer(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        const V4_BYTES: libc::socklen_t = 16;
        const V6_BYTES: libc::socklen_t = 28;
        const _: () = assert!(size_of::<libc::sockaddr_in>() == 16 && size_of::<libc::sockaddr_in6>() == 28);
        match self {
            Self::V4(address) => ((&raw const *address).cast(), V4_BYTES),
            Self::V6(address) => ((&raw const *address).cast(), V6_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            link: SocketOptions::LINK,
            client: SocketOptions::CLIENT,
            congestion: Congestion::probe().unwrap(),
        }
    }

    /// Accepts one connection, and looks at it.
    fn assert_accepts_with_options(listener: &TcpListener) {
        let (accepted, _) = listener.accept().unwrap();
        assert!(sockopt::tcp_nodelay(&accepted).unwrap());
        assert!(sockopt::socket_keepalive(&accepted).unwrap());
        assert_eq!(
            sockopt::tcp_keepidle(&accepted).unwrap(),
            SocketOptions::LINK.keepalive_idle
        );
        assert_eq!(
            sockopt::tcp_keepintvl(&accepted).unwrap(),
            SocketOptions::LINK.keepalive_interval
        );
        assert_eq!(
            sockopt::tcp_keepcnt(&accepted).unwrap(),
            SocketOptions::LINK.keepalive_probes
        );
        assert_eq!(sockopt::tcp_user_timeout(&accepted).unwrap(), 8000);
        let congestion = Congestion::probe().unwrap();
        assert_eq!(sockopt::tcp_congestion(&accepted).unwrap(), congestion.name());
    }

    #[test]
    fn an_accepted_socket_inherits_every_option_of_its_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        options()
            .prepare_listener(&listener, SocketProfile::Link, false)
            .unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_accepts_with_options(&listener);
    }

    #[test]
    fn a_connection_that_came_before_a_driver_has_the_listener_has_every_option_too() {
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = SocketOptions::LINK.listen(any, false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        options()
            .prepare_listener(&listener, SocketProfile::Link, false)
            .unwrap();
        assert_accepts_with_options(&listener);
    }

    #[test]
    fn sockets_use_cubic_or_reno_unless_the_host_allows_neither() {
        let options = options();
        let address = "127.0.0.1:9".parse().unwrap();
        let socket = options.socket_to(address, SocketProfile::Client, false).unwrap();
        let in_force = sockopt::tcp_congestion(&socket).unwrap();
        assert_eq!(in_force, options.congestion.name());
        let chosen = matches!(options.congestion, Congestion::Cubic | Congestion::Reno);
        assert!(
            chosen || in_force == options.congestion.name(),
            "a default that is kept is reported by its name"
        );
    }
}
