//! Buffers that threads use for request after request.

/// What an idle thread keeps of each buffer.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Gives back what a huge request needed. A buffer of common size keeps its content: who decompresses into it then need
/// not fill it with zeros first.
pub(crate) fn keep_small(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_huge_buffer_is_given_back() {
        let mut common = vec![1; 1000];
        keep_small(&mut common);
        assert_eq!(common.len(), 1000);
        let mut huge = vec![1; KEPT_BYTES + 1];
        keep_small(&mut huge);
        assert_eq!(huge.capacity(), 0);
    }
}
