//! How QUIC is set up: timeouts, windows and streams of each kind of connection.

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::protocol::Protocol;
use crate::limits::{
    CLIENT_CONNECTION_WINDOW_BYTES, CLIENT_IDLE_TIMEOUT, CLIENT_KEEP_ALIVE,
    CLIENT_STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES, INITIAL_ROUND_TRIP, NARROW_WINDOW_BYTES,
    PEER_IDLE_TIMEOUT, PEER_KEEP_ALIVE, PEER_STREAMS_MAX, SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES,
};

/// What both sides of every connection have in common. Nothing is left to quinn's defaults whose
/// change would change us.
fn transport(idle: Duration, keep_alive: Option<Duration>) -> TransportConfig {
    let mut path = MtuDiscoveryConfig::default();
    path.upper_bound(1452).interval(Duration::from_mins(10));
    let idle = IdleTimeout::try_from(idle).expect("a few seconds fit");
    let mut transport = TransportConfig::default();
    transport
        .initial_rtt(INITIAL_ROUND_TRIP)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(keep_alive)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .send_window(SEND_WINDOW_BYTES)
        .send_fairness(true)
        .initial_mtu(1200)
        .min_mtu(1200)
        .mtu_discovery_config(Some(path))
        .ack_frequency_config(None)
        .congestion_controller_factory(Arc::new(CubicConfig::default()))
        .enable_segmentation_offload(true);
    transport
}

/// For those who are dialled. Which protocol it will be is not known before the handshake: the
/// dialling side sets the shorter idle timeout between nodes, and keeps alive.
pub(super) fn server_transport() -> TransportConfig {
    let mut transport = transport(CLIENT_IDLE_TIMEOUT, None);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(PEER_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        // Wider once it is known who has dialled.
        .receive_window(VarInt::from_u32(NARROW_WINDOW_BYTES));
    transport
}

/// For those who dial. Only they open streams.
pub(super) fn client_transport(protocol: Protocol) -> TransportConfig {
    let (mut transport, stream_window, connection_window) = match protocol {
        Protocol::Peer => {
            let transport = transport(PEER_IDLE_TIMEOUT, Some(PEER_KEEP_ALIVE));
            (transport, STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES)
        }
        // To a leader that is gone nothing is handed on for long.
        Protocol::Onward => {
            let transport = transport(PEER_IDLE_TIMEOUT, Some(PEER_KEEP_ALIVE));
            (transport, CLIENT_STREAM_WINDOW_BYTES, CLIENT_CONNECTION_WINDOW_BYTES)
        }
        Protocol::Client | Protocol::Registry => {
            let transport = transport(CLIENT_IDLE_TIMEOUT, Some(CLIENT_KEEP_ALIVE));
            (transport, CLIENT_STREAM_WINDOW_BYTES, CLIENT_CONNECTION_WINDOW_BYTES)
        }
    };
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(connection_window));
    transport
}
