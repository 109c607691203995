//! The traits that Pingora requires of a stream, for streams that have nothing to report with them.

/// Implements these traits: nothing can be peeked at, and there are neither times nor a proxy to
/// report. Pingora need not know of TLS: HTTP/2 begins with its preface over TLS as well.
macro_rules! stream_without_details {
    ($stream:ty) => {
        impl pingora::protocols::Peek for $stream {}

        impl pingora::protocols::Ssl for $stream {}

        impl pingora::protocols::GetTimingDigest for $stream {
            fn get_timing_digest(&self) -> Vec<Option<pingora::protocols::TimingDigest>> {
                Vec::new()
            }
        }

        impl pingora::protocols::GetProxyDigest for $stream {
            fn get_proxy_digest(
                &self,
            ) -> Option<std::sync::Arc<pingora::protocols::raw_connect::ProxyDigest>> {
                None
            }
        }
    };
}

pub(in crate::proxy) use stream_without_details;
