//! The end-to-end suite; its tests are in `tests/it`.
