-- A statement that records a batch refuses itself as a whole, where what it was decided on is no longer so.
CREATE FUNCTION refuse(p_why text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'TL001', MESSAGE = p_why;
END $$;
