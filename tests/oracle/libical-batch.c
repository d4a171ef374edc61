// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/*
 * libical's opinion on recurrence rules, for test_calendars.py, which asks it only about rules that have
 * enough occurrences: it walks on for seconds to minutes where there is none.
 *
 *   START <tab> RULE <tab> AFTER <tab> COUNT      as iCalendar writes times: "20260105T090000 ..."
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libical/ical.h>

int
main(void)
{
	char *line = NULL;
	size_t cap = 0;

	while (getline(&line, &cap, stdin) > 0) {
		char *start = line, *rule = strchr(line, '\t') + 1, *after = strchr(rule, '\t') + 1;
		char *count = strchr(after, '\t') + 1;
		struct icaltimetype t, from;
		icalrecur_iterator *i;

		rule[-1] = after[-1] = count[-1] = 0;
		from = icaltime_from_string(after);
		i = icalrecur_iterator_new(
		    icalrecurrencetype_from_string(rule), icaltime_from_string(start));
		for (long n = strtol(count, NULL, 10); i && n > 0;) {
			t = icalrecur_iterator_next(i);
			if (icaltime_is_null_time(t))
				break;
			if (icaltime_compare(t, from) <= 0)
				continue;
			printf("%s ", icaltime_as_ical_string(t));
			n--;
		}
		if (i)
			icalrecur_iterator_free(i);
		putchar('\n');
	}
	free(line);
	return 0;
}
