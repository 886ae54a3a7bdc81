//! The corpus, one test per file of `tests/corpus`.

use crate::harness::{
    Glooshot, Upstream,
    corpus::{groups, load, names},
    judge::judge,
};

/// Sends one case through a proxy of its own.
#[track_caller]
fn run(group: &str, name: &str) {
    let upstream = Upstream::naming_the_target();
    let proxy = Glooshot::before(&upstream);
    judge(&proxy, &upstream, &load(group, name));
}

macro_rules! corpus {
    ($($group:ident { $($case:ident,)* })*) => {
        const LISTED: &[(&str, &[&str])] = &[$((stringify!($group), &[$(stringify!($case)),*])),*];

        $(mod $group {
            $(#[test]
            fn $case() {
                super::run(stringify!($group), stringify!($case));
            })*
        })*
    };
}

corpus! {
    chunks {
        a10_a_chunk_size_that_ends_in_lf_is_refused,
        a10_a_last_chunk_that_ends_in_lf_is_refused,
        a10_an_lf_for_the_end_of_the_chunks_hides_no_request,
        a10_chunk_data_that_ends_in_cr_cr_lf_is_refused,
        a10_chunk_data_that_ends_in_cr_is_refused,
        a10_chunk_data_that_ends_in_lf_is_refused,
        a10_chunk_data_with_two_other_bytes_for_its_line_end_is_refused,
        a10_chunk_data_without_a_line_end_is_refused,
        a11_a_chunk_extension_is_not_forwarded,
        a11_a_nul_in_a_chunk_extension_is_refused,
        a11_a_quoted_chunk_extension_is_not_forwarded,
        a11_a_semicolon_without_an_extension_is_refused,
        a11_an_lf_in_a_chunk_extension_is_refused,
        a11_more_than_16_kib_of_extensions_in_one_chunk_are_refused,
        a11_more_than_16_kib_of_extensions_over_many_chunks_are_refused,
        a9_a_bad_size_behind_a_good_chunk_never_ends_the_request,
        a9_a_chunk_size_in_c_notation_is_refused,
        a9_a_chunk_size_of_17_digits_is_refused,
        a9_a_chunk_size_of_two_to_the_64_is_refused,
        a9_a_chunk_size_that_is_an_empty_line_is_refused,
        a9_a_chunk_size_that_is_no_digit_is_refused,
        a9_a_chunk_size_with_a_leading_blank_is_refused,
        a9_a_chunk_size_with_a_minus_is_refused,
        a9_a_chunk_size_with_a_plus_is_refused,
        a9_a_chunk_size_with_a_trailing_blank_is_refused,
        a9_a_chunk_size_with_an_underscore_is_refused,
        chunks_of_many_sizes_are_one_body,
    }
    framing {
        a1_content_length_then_transfer_encoding_is_one_chunked_request_and_the_connection_closes,
        a2_transfer_encoding_then_content_length_is_one_chunked_request_and_the_connection_closes,
        a3_a_list_of_two_different_content_lengths_is_refused,
        a3_two_different_content_lengths_are_refused,
        a4_a_list_of_two_equal_content_lengths_is_refused,
        a4_two_equal_content_lengths_are_refused_or_become_one,
        a5_a_content_length_in_digits_of_another_script_is_refused,
        a5_a_content_length_in_hexadecimal_is_refused,
        a5_a_content_length_in_octal_is_refused,
        a5_a_content_length_of_25_digits_is_refused,
        a5_a_content_length_of_minus_zero_is_refused,
        a5_a_content_length_of_two_numbers_is_refused,
        a5_a_content_length_that_is_empty_is_refused,
        a5_a_content_length_with_a_form_feed_is_refused,
        a5_a_content_length_with_a_fraction_is_refused,
        a5_a_content_length_with_a_leading_comma_is_refused,
        a5_a_content_length_with_a_plus_is_refused,
        a5_a_content_length_with_a_trailing_comma_is_refused,
        a5_a_content_length_with_an_underscore_is_refused,
        a5_the_largest_64_bit_content_length_is_refused,
        a6_a_transfer_encoding_of_a_blank_inside_is_refused,
        a6_a_transfer_encoding_of_a_leading_comma_is_refused,
        a6_a_transfer_encoding_of_a_trailing_comma_is_refused,
        a6_a_transfer_encoding_of_an_unknown_coding_that_ends_in_chunked_is_refused,
        a6_a_transfer_encoding_of_chunked_and_identity_is_refused,
        a6_a_transfer_encoding_of_chunked_before_gzip_is_refused,
        a6_a_transfer_encoding_of_chunked_in_quotes_is_refused,
        a6_a_transfer_encoding_of_chunked_twice_is_refused,
        a6_a_transfer_encoding_of_chunked_with_a_parameter_is_refused,
        a6_a_transfer_encoding_of_gzip_and_chunked_is_refused,
        a6_a_transfer_encoding_of_identity_is_refused,
        a6_a_transfer_encoding_of_nothing_is_refused,
        a6_chunked_in_other_letters_is_chunked,
        a6_two_lines_of_transfer_encoding_are_refused,
        a7_a_transfer_encoding_and_a_length_in_http_1_0_are_refused,
        a7_a_transfer_encoding_in_http_1_0_is_refused,
        a_content_length_of_zero_has_no_body,
        a_get_with_a_body_keeps_its_length,
        a_request_without_framing_has_no_body,
    }
    headers {
        b4_an_upgrade_to_http_2_is_not_forwarded,
        b4_hop_by_hop_headers_are_not_forwarded,
        b5_close_ends_the_connection_of_the_client,
        b5_connection_cannot_take_the_host_away,
        b5_headers_that_connection_names_are_not_forwarded,
        b8_underscore_spellings_of_what_the_proxy_writes_are_dropped,
        b9_our_markers_from_outside_are_dropped,
    }
    heads {
        a12_a_folded_line_is_refused,
        a12_a_header_name_with_a_blank_inside_is_refused,
        a12_a_header_without_a_colon_is_refused,
        a12_a_space_before_the_colon_is_refused,
        a12_a_space_before_the_first_header_is_refused,
        a12_a_tab_before_the_colon_is_refused,
        a12_an_empty_header_name_is_refused,
        a13_a_bare_cr_in_a_value_is_refused,
        a13_a_delete_in_a_value_is_refused,
        a13_a_form_feed_in_a_value_is_refused,
        a13_a_letter_in_utf_8_in_a_name_is_refused,
        a13_a_nul_in_a_name_is_refused,
        a13_a_nul_in_a_value_is_refused,
        a13_a_vertical_tab_in_a_value_is_refused,
        a13_an_escape_in_a_value_is_refused,
        a13_bytes_above_7f_in_a_value_are_forwarded,
        a13_the_byte_80_in_a_name_is_refused,
        a13_the_byte_ff_in_a_name_is_refused,
        a14_lf_and_crlf_mixed_become_crlf,
        a14_lf_for_every_line_end_becomes_crlf,
        a_blank_in_the_target_is_refused,
        a_control_character_in_the_target_is_refused,
        a_head_of_60_kib_is_forwarded,
        a_head_of_more_than_64_kib_is_refused,
        a_hundred_and_one_headers_are_refused,
        a_hundred_headers_are_forwarded,
        a_method_in_lower_case_is_forwarded_as_it_is,
        a_method_that_is_no_token_is_refused,
        a_target_of_15_kib_is_forwarded,
        a_target_of_more_than_16_kib_is_refused,
        an_unknown_method_is_forwarded,
    }
    host {
        a_name_in_capitals_is_forwarded_as_it_is,
        a_name_with_a_port_is_forwarded_as_it_is,
        a_name_with_an_underscore_is_forwarded_as_it_is,
        an_ipv4_address_is_forwarded_as_it_is,
        an_ipv6_address_is_forwarded_as_it_is,
        b1_a_bracket_that_is_not_closed_is_refused,
        b1_a_host_of_raw_bytes_is_refused,
        b1_a_host_that_is_only_a_port_is_refused,
        b1_a_host_with_a_backslash_is_refused,
        b1_a_host_with_a_blank_is_refused,
        b1_a_host_with_a_comma_is_refused,
        b1_a_host_with_a_fragment_is_refused,
        b1_a_host_with_a_path_is_refused,
        b1_a_host_with_a_query_is_refused,
        b1_a_host_with_a_scheme_is_refused,
        b1_a_host_with_userinfo_is_refused,
        b1_a_port_beyond_65535_is_refused,
        b1_a_port_that_is_no_number_is_refused,
        b1_an_empty_host_is_refused,
        b1_no_host_is_refused,
        b1_two_different_hosts_are_refused,
        b1_two_equal_hosts_are_refused,
    }
    pipelining {
        a16_a_bad_framing_behind_a_good_request_is_refused_after_the_answer,
        a16_a_bad_request_behind_a_good_one_is_refused_after_the_answer,
        a16_garbage_behind_a_good_request_in_one_segment_is_refused_after_the_answer,
        an_empty_line_before_the_first_request_is_read_over,
        an_empty_line_between_requests_is_read_over,
        requests_in_one_segment_are_answered_in_order,
        requests_with_bodies_in_one_segment_are_answered_in_order,
    }
    targets {
        b10_a_backslash_is_forwarded_byte_for_byte,
        b10_a_broken_escape_is_forwarded_byte_for_byte,
        b10_a_fragment_is_never_forwarded,
        b10_a_path_that_looks_like_a_url_is_forwarded_byte_for_byte,
        b10_a_plus_and_a_tilde_is_forwarded_byte_for_byte,
        b10_a_question_mark_in_the_query_is_forwarded_byte_for_byte,
        b10_a_semicolon_and_a_star_is_forwarded_byte_for_byte,
        b10_an_empty_query_is_forwarded_byte_for_byte,
        b10_an_encoded_dot_is_forwarded_byte_for_byte,
        b10_an_encoded_nul_is_forwarded_byte_for_byte,
        b10_an_encoded_slash_is_forwarded_byte_for_byte,
        b10_dots_are_forwarded_byte_for_byte,
        b10_double_slashes_are_forwarded_byte_for_byte,
        b10_parameters_are_forwarded_byte_for_byte,
        b2_an_absolute_target_becomes_a_path_and_its_host,
        b2_an_absolute_target_does_not_replace_a_missing_host,
        b2_an_absolute_target_keeps_its_port_and_query,
        b2_an_absolute_target_of_another_scheme_is_refused,
        b2_an_absolute_target_with_a_comma_in_its_host_is_refused,
        b2_an_absolute_target_with_a_sign_before_its_port_is_refused,
        b2_an_absolute_target_with_only_a_fragment_asks_for_the_root,
        b2_an_absolute_target_with_only_a_query_asks_the_root,
        b2_an_absolute_target_with_userinfo_is_refused,
        b2_an_absolute_target_without_a_path_asks_for_the_root,
        b3_a_host_and_port_as_target_is_refused,
        b3_a_query_as_target_is_refused,
        b3_a_target_without_a_slash_is_refused,
        b3_an_asterisk_is_refused_unless_with_options,
        b3_connect_is_refused,
        b3_options_with_an_asterisk_is_forwarded,
        b3_trace_is_refused,
    }
    versions {
        a15_a_request_without_a_version_is_refused,
        a15_a_version_01_1_is_refused,
        a15_a_version_0_9_is_refused,
        a15_a_version_1_32_is_refused,
        a15_a_version_1_without_a_minor_is_refused,
        a15_a_version_2_0_is_refused,
        a15_a_version_in_lower_case_is_refused,
        a15_a_version_of_another_protocol_is_refused,
        a15_a_version_of_many_digits_is_refused,
        a15_a_version_with_a_blank_behind_is_refused,
        a_request_of_http_1_0_is_forwarded_and_the_connection_closes,
        a_request_of_http_1_0_with_keep_alive_keeps_the_connection,
        a_request_of_http_1_0_without_a_host_is_forwarded_with_one,
    }
}

#[test]
fn every_file_of_the_corpus_is_a_test_and_can_be_read() {
    assert_eq!(groups(), LISTED.iter().map(|(group, _)| *group).collect::<Vec<_>>());
    for (group, cases) in LISTED {
        assert_eq!(names(group), *cases, "tests/corpus/{group}");
        for case in *cases {
            assert!(!load(group, case).bytes().is_empty(), "{group}/{case}");
        }
    }
}
