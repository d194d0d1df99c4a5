-- Only code of before 0004_requests_whole calls the record_bet that leaves half of a request out.
DROP FUNCTION record_bet(uuid, text, text, text, text, integer, integer, bigint, text, text, timestamptz, integer,
    integer, bigint, bigint, uuid, text, text, bigint, text, bigint);
