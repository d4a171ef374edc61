-- SPDX-License-Identifier: Apache-2.0
-- SPDX-FileCopyrightText: The Takt authors
--
-- A gateway that was taken over acts in no other name than the caller's, nor answers commands in the engine's place.

create policy caller_insert on takt.command as restrictive for insert to takt_gateway
	with check (actor = (select takt.current_actor()) and decided_at is null and status is null and answer is null);
create policy caller_insert on takt.task_revision as restrictive for insert to takt_gateway
	with check (actor = (select takt.current_actor()));
