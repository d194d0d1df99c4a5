-- What else the bettor asked for, so that a request is told from another one under the same key by all of it. Bets of
-- before have neither on record.
ALTER TABLE bets ADD COLUMN requested_accept text, ADD COLUMN requested_valid_until timestamptz;

-- As in 0002, with the two.
CREATE FUNCTION record_bet(
    p_bet uuid, p_user text, p_event text, p_market text, p_selection text, p_odds integer, p_odds_version integer,
    p_stake bigint, p_currency text, p_key text, p_at timestamptz, p_requested_odds integer,
    p_requested_version integer, p_accept text, p_valid_until timestamptz, p_liability bigint, p_balance bigint,
    p_transfer uuid, p_debit text, p_credit text, p_wallet_version bigint, p_player_state text, p_exposure_most bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM odds WHERE market_id = p_market AND odds_version = p_odds_version FOR UPDATE;
    IF NOT FOUND THEN RETURN NULL; END IF;
    PERFORM 1 FROM wallets WHERE user_id = p_user AND version = p_wallet_version FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN NULL; END IF;
    PERFORM 1 FROM players WHERE user_id = p_user AND xmin::text = p_player_state;
    IF NOT FOUND THEN RETURN NULL; END IF;
    INSERT INTO exposures (market_id, selection_id, bets, stakes_minor, liability_minor)
    VALUES (p_market, p_selection, 1, p_stake, p_liability)
    ON CONFLICT (market_id, selection_id) DO UPDATE SET bets = exposures.bets + 1,
        stakes_minor = exposures.stakes_minor + p_stake,
        liability_minor = exposures.liability_minor + p_liability
    WHERE exposures.liability_minor <= p_exposure_most;
    IF NOT FOUND THEN RETURN NULL; END IF;
    UPDATE wallets SET balance_minor = p_balance, version = p_wallet_version + 1, updated_at = p_at
    WHERE user_id = p_user;
    INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount_minor, currency, bet_id,
        user_id, recorded_at)
    VALUES (p_transfer, 'stake', p_debit, p_credit, p_stake, p_currency, p_bet, p_user, p_at);
    INSERT INTO bets (bet_id, user_id, event_id, market_id, selection_id, odds_milli, odds_version, stake_minor,
        currency, idempotency_key, created_at, requested_odds_milli, requested_odds_version,
        requested_accept, requested_valid_until)
    VALUES (p_bet, p_user, p_event, p_market, p_selection, p_odds, p_odds_version, p_stake, p_currency, p_key,
        p_at, p_requested_odds, p_requested_version, p_accept, p_valid_until);
    RETURN p_wallet_version + 1;
END $$;
