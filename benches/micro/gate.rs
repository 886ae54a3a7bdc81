//! The gate: a head of usual and of large size, over both versions, and the first thing that it refuses.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use http::{HeaderValue, Method, Version};

use crate::{
    proxy::admit::{Gate, admit},
    requests::request,
};

pub(crate) fn bench(criterion: &mut Criterion) {
    let gate = Gate {
        pseudonym: "ratings.bookinfo.glooshot".to_owned(),
        default_host: HeaderValue::from_static("ratings.bookinfo:9080"),
        target_bytes: 8_192,
        headers: 100,
    };
    let mut group = criterion.benchmark_group("gate");
    for (name, version) in [("http/1.1", Version::HTTP_11), ("http/2", Version::HTTP_2)] {
        for fields in [3, 30, 100] {
            let request = request(version, fields);
            group.bench_function(format!("{name}, {fields} fields"), |bencher| {
                // The gate changes what it admits.
                bencher.iter_batched_ref(
                    || request.clone(),
                    |request| admit(&gate, black_box(request)).unwrap(),
                    BatchSize::SmallInput,
                );
            });
        }
    }
    let mut refused = request(Version::HTTP_11, 3);
    refused.method = Method::TRACE;
    group.bench_function("refused by its method", |bencher| {
        bencher.iter(|| admit(&gate, black_box(&mut refused)).unwrap_err());
    });
    group.finish();
}
