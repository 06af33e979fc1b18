//! Issued values over simulated time.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;
use tokio::time::advance;

use super::*;

/// Issues 1, 2, 3 …
#[derive(Default)]
struct Issuer {
    asked: AtomicU32,
}

impl Issuer {
    async fn ask(&self, lifetime: u64) -> Result<Issued<u32>, TokenError> {
        let value = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::task::yield_now().await;
        Ok(Issued { value, lifetime: Some(Duration::from_secs(lifetime)) })
    }

    async fn fail(&self) -> Result<Issued<u32>, TokenError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Err(TokenError::Answer { url: "http://issuer".to_owned(), what: "token", why: "none".to_owned() })
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn secret(text: &str) -> config::Secret {
    config::Secret::new(text)
}

async fn seconds(seconds: u64) {
    advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn many_who_need_a_token_ask_once() {
    let (cache, issuer, with) = (Cache::new(Renew::BeforeExpiry), Issuer::default(), secret("s"));
    let get = async || cache.get(&with, issuer.ask(3600)).await.unwrap().value;
    let all = tokio::join!(get(), get(), get(), get());
    assert_eq!((all, issuer.asked()), ((1, 1, 1, 1), 1));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_a_minute_or_a_quarter_of_its_life_before_it_expires_or_at_half() {
    for (renew, lifetime, until) in
        [(Renew::BeforeExpiry, 3600, 3540), (Renew::BeforeExpiry, 20, 15), (Renew::AtHalfLife, 3600, 1800)]
    {
        let (cache, issuer, with) = (Cache::new(renew), Issuer::default(), secret("s"));
        let get = async || cache.get(&with, issuer.ask(lifetime)).await.unwrap().value;
        assert_eq!(get().await, 1);
        seconds(until - 1).await;
        assert_eq!(get().await, 1, "{renew:?}");
        seconds(1).await;
        assert_eq!(get().await, 2, "{renew:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_renews_the_others_go_on_with_what_is_still_good() {
    let (cache, issuer, with) = (Cache::new(Renew::AtHalfLife), Issuer::default(), secret("s"));
    assert_eq!(cache.get(&with, issuer.ask(100)).await.unwrap().value, 1);
    seconds(60).await;
    let answered = Notify::new();
    let slow = cache.get(&with, async {
        answered.notified().await;
        issuer.ask(100).await
    });
    let others = async {
        let value = cache.get(&with, issuer.ask(100)).await.unwrap().value;
        answered.notify_one();
        value
    };
    let (slow, other) = tokio::join!(slow, others);
    assert_eq!((slow.unwrap().value, other), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn while_asking_fails_a_token_is_used_until_it_expires_and_the_issuer_is_spared() {
    let (cache, issuer, with) = (Cache::new(Renew::AtHalfLife), Issuer::default(), secret("s"));
    assert_eq!(cache.get(&with, issuer.ask(100)).await.unwrap().value, 1);
    seconds(60).await;
    for _ in 0..5 {
        assert_eq!(cache.get(&with, issuer.fail()).await.unwrap().value, 1);
    }
    assert_eq!(issuer.asked(), 2, "once a second at most");
    seconds(40).await;
    for _ in 0..5 {
        let error = cache.get(&with, issuer.fail()).await.unwrap_err();
        assert_eq!(error.to_string(), "http://issuer answered with no usable token: none");
    }
    assert_eq!(issuer.asked(), 3);
    seconds(1).await;
    assert_eq!(cache.get(&with, issuer.ask(100)).await.unwrap().value, 4);
}

#[tokio::test(start_paused = true)]
async fn those_who_waited_for_an_answer_share_its_failure() {
    let (cache, issuer, with) = (Cache::<u32>::new(Renew::AtHalfLife), Issuer::default(), secret("s"));
    let answered = Notify::new();
    let first = cache.get(&with, async {
        answered.notified().await;
        issuer.fail().await
    });
    let second = cache.get(&with, issuer.ask(100));
    let third = async {
        answered.notify_one();
        cache.get(&with, issuer.ask(100)).await
    };
    let all = tokio::join!(first, second, third);
    assert!(all.0.is_err() && all.1.is_err() && all.2.is_err());
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_secret_asks_for_another_token() {
    let (cache, issuer) = (Cache::new(Renew::BeforeExpiry), Issuer::default());
    assert_eq!(cache.get(&secret("old"), issuer.ask(100)).await.unwrap().value, 1);
    assert_eq!(cache.get(&secret("new"), issuer.ask(100)).await.unwrap().value, 2);
    assert_eq!(cache.get(&secret("new"), issuer.ask(100)).await.unwrap().value, 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_thrown_away_once_unless_it_is_too_young_to_be_the_cause() {
    let (cache, issuer, with) = (Cache::new(Renew::BeforeExpiry), Issuer::default(), secret("s"));
    let first = cache.get(&with, issuer.ask(3600)).await.unwrap();
    seconds(4).await;
    assert!(!cache.refused(&first));
    assert_eq!(cache.get(&with, issuer.ask(3600)).await.unwrap().value, 1);
    seconds(1).await;
    assert!(cache.refused(&first));
    let second = cache.get(&with, issuer.ask(3600)).await.unwrap();
    assert_eq!(second.value, 2);
    assert!(cache.refused(&first), "whoever still has the old one may try again");
    assert!(!cache.refused(&second));
    assert_eq!(cache.get(&with, issuer.ask(3600)).await.unwrap().value, 2, "and the new one stays");
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_lifetime_is_kept_and_one_that_is_born_expired_is_not_used_twice() {
    let (cache, issuer, with) = (Cache::new(Renew::BeforeExpiry), Issuer::default(), secret("s"));
    let forever = async { Ok(Issued { value: 9, lifetime: None }) };
    assert_eq!(cache.get(&with, forever).await.unwrap().value, 9);
    seconds(1_000_000).await;
    assert_eq!(cache.get(&with, issuer.ask(1)).await.unwrap().value, 9);

    let cache = Cache::new(Renew::AtHalfLife);
    assert_eq!(cache.get(&with, issuer.ask(0)).await.unwrap().value, 1);
    assert_eq!(cache.get(&with, issuer.ask(0)).await.unwrap().value, 2);
}
