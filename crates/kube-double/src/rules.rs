//! `x-kubernetes-validations`: rules in CEL, evaluated with the `cel` crate.
//!
//! Of Kubernetes' own functions (quantities, URLs, formats) none are there. A rule that needs one is not evaluated, lets
//! everything pass, and is named by [`ApiServer::unevaluated_rules`](crate::ApiServer::unevaluated_rules).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, ExecutionError, Program, Value as CelValue};
use regex_automata::meta::Regex;
use serde_json::Value;

use crate::kinds::text;
use crate::schema::type_of;
use crate::status::FieldError;

/// Rules and patterns that were met so far.
#[derive(Default)]
pub(crate) struct Rules {
    compiled: HashMap<String, Option<Arc<Program>>>,
    patterns: HashMap<String, Option<Regex>>,
    /// What cannot be evaluated, and why.
    pub(crate) unevaluated: BTreeMap<String, String>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rules").field("unevaluated", &self.unevaluated).finish_non_exhaustive()
    }
}

impl Rules {
    /// Adds an error for each rule of its schema that the value breaks. A rule that names `oldSelf` speaks of changes only.
    pub(crate) fn check(
        &mut self,
        value: &Value,
        old: Option<&Value>,
        schema: &Value,
        path: &str,
        errors: &mut Vec<FieldError>,
    ) {
        for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let source = text(rule, "/rule");
            if source.contains("oldSelf") && old.is_none() {
                continue;
            }
            match self.evaluate(source, value, old) {
                Outcome::Unknown | Outcome::Value(CelValue::Bool(true)) => {}
                Outcome::Value(CelValue::Bool(false)) => errors.push(self.broken(rule, value, old, schema, path)),
                Outcome::Value(other) => self.note(source, format!("it evaluates to {other:?}, which is no boolean")),
                Outcome::NoSuchKey(key) => {
                    let detail = format!("no such key: {key} evaluating rule: {}", words(rule));
                    errors.push(FieldError::invalid(path, &Value::from(kind_of(schema, value)), detail));
                }
            }
        }
    }

    fn broken(&mut self, rule: &Value, value: &Value, old: Option<&Value>, schema: &Value, path: &str) -> FieldError {
        let computed = match text(rule, "/messageExpression") {
            "" => Outcome::Unknown,
            expression => self.evaluate(expression, value, old),
        };
        let message = match computed {
            Outcome::Value(CelValue::String(computed)) => computed.to_string(),
            _ => words(rule),
        };
        let field = format!("{path}{}", text(rule, "/fieldPath"));
        match text(rule, "/reason") {
            "FieldValueForbidden" => FieldError::forbidden(field, message),
            "FieldValueRequired" => FieldError::required(field, &message),
            _ => FieldError::invalid(field, &Value::from(kind_of(schema, value)), message),
        }
    }

    /// Whether the text matches; a pattern that cannot be read, which no definition has, matches everything.
    pub(crate) fn matches(&mut self, pattern: &str, text: &str) -> bool {
        let known = self.patterns.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        known.as_ref().is_none_or(|regex| regex.is_match(text))
    }

    fn note(&mut self, source: &str, why: String) {
        self.unevaluated.entry(source.to_owned()).or_insert(why);
    }

    fn evaluate(&mut self, source: &str, value: &Value, old: Option<&Value>) -> Outcome {
        let program = if let Some(known) = self.compiled.get(source) {
            known.clone()
        } else {
            let compiled = Program::compile(source).map_err(|error| self.note(source, error.to_string())).ok();
            let compiled = compiled.map(Arc::new);
            self.compiled.insert(source.to_owned(), compiled.clone());
            compiled
        };
        let Some(program) = program else { return Outcome::Unknown };
        let mut context = Context::default();
        context.add_variable_from_value("self", converted(value));
        if let Some(old) = old {
            context.add_variable_from_value("oldSelf", converted(old));
        }
        match program.execute(&context) {
            Ok(value) => Outcome::Value(value),
            Err(ExecutionError::NoSuchKey(key)) => Outcome::NoSuchKey(key.to_string()),
            Err(error) => {
                self.note(source, error.to_string());
                Outcome::Unknown
            }
        }
    }
}

/// What an expression comes to.
enum Outcome {
    Value(CelValue),
    /// It reads what is not there: the value is refused.
    NoSuchKey(String),
    /// It cannot be evaluated.
    Unknown,
}

fn words(rule: &Value) -> String {
    match text(rule, "/message") {
        "" => format!("failed rule: {}", text(rule, "/rule")),
        message => message.to_owned(),
    }
}

fn kind_of<'a>(schema: &'a Value, value: &Value) -> &'a str {
    Some(text(schema, "/type")).filter(|kind| !kind.is_empty()).unwrap_or_else(|| type_of(value))
}

fn converted(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => CelValue::Int(whole),
            None => CelValue::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(list) => CelValue::List(Arc::new(list.iter().map(converted).collect())),
        Value::Object(map) => {
            let converted = map.iter().map(|(key, value)| (Key::String(Arc::new(key.clone())), converted(value)));
            CelValue::Map(Map { map: Arc::new(converted.collect()) })
        }
    }
}
