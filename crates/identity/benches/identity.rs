//! What it costs to know a sender: a token that was seen before, and one that was not.

#![expect(clippy::expect_used, reason = "a benchmark without its token has nothing to measure")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use identity::cache::VerifiedCache;
use identity::issue::{NewToken, create_token, generate_key_pair, kid, public_pem};
use identity::key_set::KeySet;
use identity::revocation::Revoked;
use identity::secret::TokenDigest;
use identity::token::{TenantClaim, TokenRules, verify};

const NOW: i64 = 1_700_000_000;

fn identity(criterion: &mut Criterion) {
    let pair = generate_key_pair().expect("a key");
    let document = serde_json::json!({kid(&pair).expect("a kid"): public_pem(&pair).expect("a public key")});
    let keys = KeySet::parse(&document.to_string()).expect("a key set").keys;
    // About 700 bytes, as from an identity provider.
    let jti = "0123456789abcdef".repeat(5);
    let new = NewToken { instance: "demo", tenant: "team-blue", issued_at: NOW, lifetime_seconds: 60, jti: &jti };
    let token = create_token(&new, &pair).expect("a token");
    let rules = TokenRules {
        audience: Some("opstrace-cluster-demo".to_owned()),
        issuer: None,
        tenant: Some(TenantClaim { claim: "sub".to_owned(), pattern: "tenant-{tenant}".parse().expect("a pattern") }),
        user_claim: None,
        groups_claim: None,
        require_exp: true,
        leeway_seconds: 60,
    };
    let cache = VerifiedCache::new(10_000).expect("a cache");
    for number in 0..5_000_u32 {
        cache.insert(cache.key_of(&[&number.to_le_bytes()]), number, NOW + 60, cache.generation());
    }
    cache.insert(cache.key_of(&[b"bearer", token.as_bytes()]), 0, NOW + 60, cache.generation());
    let revoked = Revoked::parse("one\ntwo\n");

    let mut group = criterion.benchmark_group("identity");
    group.bench_function(format!("cached token of {} bytes", token.len()), |bencher| {
        bencher.iter(|| cache.get(&cache.key_of(&[b"bearer", black_box(&token).as_bytes()]), NOW).expect("a hit"));
    });
    group.bench_function("RS256 verify", |bencher| {
        bencher.iter(|| verify(black_box(&token), &keys, None, &rules, NOW).expect("valid"));
    });
    group.bench_function("revoked", |bencher| {
        bencher.iter(|| revoked.contains(black_box(&token), Some("three")));
    });
    group.bench_function("digest of a token", |bencher| bencher.iter(|| TokenDigest::of(black_box(&token))));
    group.finish();
}

criterion_group!(benches, identity);
criterion_main!(benches);
