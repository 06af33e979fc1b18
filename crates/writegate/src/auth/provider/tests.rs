//! What is known of a provider as time passes; what it says comes from the test, not over a network.

use identity::key_set::ParsedKeySet;
use tokio::time::advance;

use super::*;

/// A key of P-256, and the same under another name.
fn publication(kid: &str) -> Publication {
    let document = format!(
        r#"{{"keys": [{{"kty": "EC", "crv": "P-256", "kid": "{kid}", "use": "sig",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}]}}"#
    );
    let ParsedKeySet { keys, refused } = KeySet::parse(&document).unwrap();
    Publication { document: document.into(), keys, refused, max_age: None }
}

fn provider() -> Provider {
    Provider::new(Place::Url(Url::parse("http://127.0.0.1:1/keys").unwrap()), None).unwrap()
}

fn kids(provider: &Provider) -> Vec<String> {
    provider.keys().map(|keys| keys.kids().map(str::to_owned).collect()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn keys_are_good_for_a_day_after_they_were_fetched_last_and_no_longer() {
    let provider = provider();
    assert_eq!(kids(&provider), [""; 0]);
    provider.shared.took(publication("one"), Instant::now());
    for _ in 0..3 {
        advance(GOOD_FOR - Duration::from_secs(1)).await;
        provider.shared.missed("it is down", Instant::now());
        assert_eq!(kids(&provider), ["one"]);
        provider.shared.took(publication("one"), Instant::now());
    }
    advance(GOOD_FOR).await;
    assert_eq!(kids(&provider), [""; 0]);
    provider.shared.took(publication("two"), Instant::now());
    assert_eq!(kids(&provider), ["two"]);
    let Standing { fetched, failed, last_success_ms } = provider.standing();
    assert!((fetched, failed) == (5, 3) && last_success_ms > 0);
}

#[tokio::test(start_paused = true)]
async fn the_epoch_is_another_when_the_keys_are() {
    let provider = provider();
    let mut epochs = vec![provider.epoch()];
    for kid in ["one", "one", "two", "one"] {
        provider.shared.took(publication(kid), Instant::now());
        epochs.push(provider.epoch());
    }
    assert_eq!(epochs, [0, 1, 1, 2, 3]);
    provider.shared.missed("it is down", Instant::now());
    assert_eq!(provider.epoch(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_key_is_answered_by_the_key_by_a_later_attempt_or_by_the_deadline() {
    let provider = provider();
    let has = |kid: &'static str| move |keys: &KeySet| keys.get(kid).is_some();
    let arrived = Instant::now();
    let deadline = arrived + Duration::from_secs(4);
    assert!(!provider.answers(arrived, deadline, has("one")).await, "nothing was ever fetched");
    assert_eq!(Instant::now(), deadline);

    provider.shared.missed("it is down", arrived);
    let (arrived, deadline) = (Instant::now() + Duration::from_secs(1), Instant::now() + Duration::from_secs(5));
    advance(Duration::from_secs(1)).await;
    assert!(!provider.answers(arrived, deadline, has("one")).await);
    assert_eq!(Instant::now(), arrived, "without any keys nobody waits for a provider that is down");

    // An attempt that began before may bring the key, but does not prove that there is none.
    provider.shared.took(publication("one"), arrived - Duration::from_secs(1));
    assert!(provider.answers(arrived, deadline, has("one")).await);
    assert!(!provider.answers(arrived, deadline, has("two")).await);
    assert_eq!(Instant::now(), deadline);
    provider.shared.took(publication("one"), arrived);
    assert!(provider.answers(arrived, deadline + Duration::from_secs(1), has("two")).await, "there is none");
    provider.shared.missed("it is down", Instant::now());
    assert!(!provider.answers(arrived, deadline + Duration::from_secs(1), has("two")).await, "that is not known");
}

#[test]
fn how_long_keys_are_current_is_the_providers_to_say_within_bounds() {
    let seconds = |max_age: Option<u64>| current_for(max_age.map(Duration::from_secs)).as_secs();
    for (max_age, current) in [
        (None, 600),
        (Some(0), 60),
        (Some(59), 60),
        (Some(3_600), 3_600),
        (Some(86_401), 86_400),
        (Some(u64::MAX), 86_400),
    ] {
        assert_eq!(seconds(max_age), current, "{max_age:?}");
    }
    for _ in 0..100 {
        let jittered = jittered(Duration::from_secs(100)).as_secs_f64();
        assert!((90.0..=110.0).contains(&jittered), "{jittered}");
    }
}

#[test]
fn a_provider_that_stays_is_the_same_and_one_that_is_not_used_is_forgotten() {
    let providers = Providers::default();
    let place = |url| Place::Url(Url::parse(url).unwrap());
    let one = providers.get(&place("http://a/"), None).unwrap();
    assert!(Arc::ptr_eq(&one, &providers.get(&place("http://a/"), None).unwrap()));
    let verifies_nothing = ClientTls { insecure_skip_verify: true, ..ClientTls::default() };
    assert!(!Arc::ptr_eq(&one, &providers.get(&place("http://a/"), Some(&verifies_nothing)).unwrap()));
    assert!(!Arc::ptr_eq(&one, &providers.get(&place("http://b/"), None).unwrap()));
    let (stop, known) = (one.stop.clone(), Arc::downgrade(&one));
    drop(one);
    assert!(stop.is_cancelled() && known.upgrade().is_none());
    drop(providers.get(&place("http://c/"), None).unwrap());
    assert_eq!(providers.0.lock().unwrap().len(), 1, "those that are gone are not kept");
}
