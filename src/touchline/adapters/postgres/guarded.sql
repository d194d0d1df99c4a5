-- name: probe
-- What a server that is there answers.
SELECT 1;
