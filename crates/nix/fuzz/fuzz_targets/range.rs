//! A part is within the body, and asking for exactly that part gives it again.
#![no_main]

use granary_nix::RangeRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((length, header)) = input.split_first_chunk() else { return };
    let length = u64::from_le_bytes(*length);
    let Ok(header) = str::from_utf8(header) else { return };
    let request = RangeRequest::parse(header, length);
    let answer = request.content_range(length);
    match &request {
        RangeRequest::Whole => assert_eq!(answer, None),
        RangeRequest::Unsatisfiable => assert_eq!(answer, Some(format!("bytes */{length}"))),
        RangeRequest::Part(part) => {
            assert!(part.start < part.end && part.end <= length);
            let exact = format!("bytes={}-{}", part.start, part.end - 1);
            assert_eq!(RangeRequest::parse(&exact, length), request);
        }
    }
});
