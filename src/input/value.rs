//! Single values as operators write them: sizes, durations, networks.
//!
//! Errors are the end of a sentence that begins with the key's name: what was found, and what to
//! write instead.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::secret;

const KIB: u64 = 1024;

/// A value as written, shortened to be quoted in a message.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    // SECURITY: redacted before it is shortened, as a part of a token does not look like one.
    let text = secret::redacted(text);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Bytes: plain, or with `KiB`, `MiB` or `GiB`.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text);
    let factor = match unit {
        "" | "B" => Some(1),
        "KiB" => Some(KIB),
        "MiB" => Some(KIB * KIB),
        "GiB" => Some(KIB * KIB * KIB),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor)).ok_or_else(|| {
        format!(
            "{} is not a size; write bytes, or a whole number with KiB, MiB or GiB, such as 512KiB",
            quoted(text)
        )
    })
}

/// A size as `size` reads it, in its largest whole unit.
pub fn size_text(bytes: u64) -> String {
    if bytes == 1 {
        return "1 byte".into();
    }
    [(KIB * KIB * KIB, "GiB"), (KIB * KIB, "MiB"), (KIB, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{}{name}", bytes / unit))
}

/// A time: a whole number with `ms`, `s`, `m` or `h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let milliseconds = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    number
        .zip(milliseconds)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!(
                "{} is not a duration; write a whole number with ms, s, m or h, such as 10s",
                quoted(text)
            )
        })
}

/// A time as `duration` reads it, in its largest whole unit.
pub fn duration_text(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".into();
    }
    [(3_600_000, "h"), (60_000, "m"), (1000, "s")]
        .into_iter()
        .find(|(unit, _)| milliseconds >= *unit && milliseconds.is_multiple_of(*unit))
        .map_or_else(
            || format!("{milliseconds}ms"),
            |(unit, name)| format!("{}{name}", milliseconds / unit),
        )
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start_matches(' '))
}

/// A network, or a single address.
pub fn network(text: &str) -> Result<IpNet, String> {
    let found = quoted(text);
    let network =
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(
            |_| format!("{found} is not a network; write 10.0.0.0/8, fd00::/8 or one address"),
        )?;
    let network = unmapped(network);
    if network.prefix_len() == 0 {
        return Err(format!("{found} matches every address; name the networks that are yours"));
    }
    if network.trunc() != network {
        return Err(format!(
            "{found} has bits after its prefix; write {} or the single address {}",
            network.trunc(),
            network.addr()
        ));
    }
    Ok(network)
}

/// A network of IPv4-mapped IPv6 addresses, as IPv4: all addresses are compared in that form.
fn unmapped(network: IpNet) -> IpNet {
    let prefix = network.prefix_len().checked_sub(96);
    let address = network.addr().to_canonical();
    let mapped = prefix.filter(|_| address != network.addr());
    mapped.and_then(|prefix| IpNet::new(address, prefix).ok()).unwrap_or(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_survive_writing_and_reading() {
        for bytes in [0, 1, 1023, 1024, 512 * 1024, 1 << 20, 3 << 30] {
            assert_eq!(
                size(size_text(bytes).trim_end_matches(" bytes").trim_end_matches(" byte")),
                Ok(bytes)
            );
        }
        for milliseconds in [0, 1, 500, 1000, 1500, 60_000, 90_000, 7_200_000] {
            let duration_ = Duration::from_millis(milliseconds);
            assert_eq!(duration(&duration_text(duration_)), Ok(duration_));
        }
        assert_eq!(size("512 KiB"), Ok(512 * 1024));
        for wrong in ["", "KiB", "512KB", "1.5MiB", "-1", "99999999999GiB", "1 KiB x"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "10", "s", "1.5s", "-1s", "10 seconds", "99999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_end_at_their_prefix_and_do_not_match_all_addresses() {
        assert_eq!(network("10.0.0.0/8"), Ok("10.0.0.0/8".parse().unwrap()));
        assert_eq!(network("::1"), Ok("::1/128".parse().unwrap()));
        assert_eq!(network("::ffff:10.0.0.0/104"), Ok("10.0.0.0/8".parse().unwrap()));
        assert_eq!(network("::ffff:10.0.0.1"), Ok("10.0.0.1/32".parse().unwrap()));
        for wrong in
            ["", "10.0.0.5/8", "10.0.0.0/33", "0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96", "localhost"]
        {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
