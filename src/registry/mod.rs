//! stub
/// x
pub mod lookup {
    use crate::net::*;
    use crate::types::*;
    use crate::wire::registry::*;
    /// x
    pub async fn announce(
        _: &Endpoint,
        _: std::net::SocketAddr,
        _: ClusterId,
        _: &Announcement,
        _: &[Announcement],
    ) -> Result<(), ConnectError> {
        Ok(())
    }
}
