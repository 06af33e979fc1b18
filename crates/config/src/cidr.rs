//! IP networks in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IP network; a plain address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    address: IpAddr,
    prefix_len: u8,
}

/// A text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Not an address, or not a number after the slash.
    #[error("expected an IP address or a network such as 10.0.0.0/8")]
    Syntax,
    /// The prefix is longer than an address.
    #[error("the prefix has at most {max} bits, this one says {seen}")]
    PrefixTooLong {
        /// 32 or 128.
        max: u8,
        /// As written.
        seen: u8,
    },
}

impl IpNet {
    /// Whether `peer` is in the network. An IPv4 address in IPv6 form (`::ffff:…`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(peer)) => mask_v4(net, self.prefix_len) == mask_v4(peer, self.prefix_len),
            (IpAddr::V6(net), IpAddr::V6(peer)) => mask_v6(net, self.prefix_len) == mask_v6(peer, self.prefix_len),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for IpNet {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix_len) = match text.split_once('/') {
            None => (text, None),
            Some((address, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                match digits.parse::<u8>() {
                    Ok(prefix_len) => (address, Some(prefix_len)),
                    Err(_) => return Err(InvalidNetwork::Syntax),
                }
            }
            Some(_) => return Err(InvalidNetwork::Syntax),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(InvalidNetwork::Syntax);
        };
        let max = if address.is_ipv4() { 32 } else { 128 };
        match prefix_len {
            Some(seen) if seen > max => Err(InvalidNetwork::PrefixTooLong { max, seen }),
            _ => Ok(Self { address, prefix_len: prefix_len.unwrap_or(max) }),
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

fn mask_v4(address: Ipv4Addr, prefix_len: u8) -> u32 {
    address.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0)
}

fn mask_v6(address: Ipv6Addr, prefix_len: u8) -> u128 {
    address.to_bits() & u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_in_both_families() {
        for (net, peer, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
        ] {
            let network: IpNet = net.parse().unwrap();
            assert_eq!(network.contains(peer.parse().unwrap()), inside, "{net} {peer}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/33", "::/129", "::/999", "a/8", "10.0.0.0/8/8"]
        {
            assert!(text.parse::<IpNet>().is_err(), "{text}");
        }
    }
}
