// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* The functions behind the command table (commands.c). Each returns an exit code. */
#pragma once

#include "cli/cli.h"

#define CMD(name) int name(struct cli *c, const struct args *a)

/* task.c */
CMD(cmd_task_create);
CMD(cmd_task_check);
CMD(cmd_task_list);
CMD(cmd_task_show);
CMD(cmd_task_update);
CMD(cmd_task_enable);
CMD(cmd_task_disable);
CMD(cmd_task_delete);
CMD(cmd_task_run);
CMD(cmd_task_next);
/* asked.c */
CMD(cmd_task_preview);
CMD(cmd_task_occurrences);
CMD(cmd_why);
/* forecast.c */
CMD(cmd_forecast);
/* schedule.c */
CMD(cmd_schedule_list);
CMD(cmd_schedule_show);
CMD(cmd_schedule_create);
CMD(cmd_schedule_change);
CMD(cmd_schedule_delete);
CMD(cmd_schedule_enable);
CMD(cmd_schedule_disable);
CMD(cmd_schedule_check);
/* run.c */
CMD(cmd_run_list);
CMD(cmd_run_show);
CMD(cmd_run_log);
CMD(cmd_run_cancel);
CMD(cmd_run_hold);
CMD(cmd_run_release);
CMD(cmd_run_timeline);
CMD(cmd_run_follow);
/* snapshot.c */
CMD(cmd_snapshot_list);
CMD(cmd_snapshot_show);
CMD(cmd_snapshot_diff);
/* inventory.c */
CMD(cmd_inventory_create);
CMD(cmd_inventory_list);
CMD(cmd_inventory_show);
CMD(cmd_inventory_update);
CMD(cmd_inventory_delete);
CMD(cmd_device_host_keys);
CMD(cmd_group_add);
CMD(cmd_group_remove);
/* token.c */
CMD(cmd_token_create);
CMD(cmd_token_list);
CMD(cmd_token_delete);
/* verify.c */
CMD(cmd_verify);
/* node.c */
CMD(cmd_node_list);
CMD(cmd_node_drain);
CMD(cmd_node_resume);
CMD(cmd_health);
CMD(cmd_plugin_list);
CMD(cmd_platform_list);
CMD(cmd_platform_check);
CMD(cmd_api);
/* cron.c */
CMD(cmd_cron_next);
CMD(cmd_cron_check);
/* calendar.c */
CMD(cmd_calendar_check);
CMD(cmd_calendar_is_holiday);
CMD(cmd_calendar_show);
CMD(cmd_calendar_list);
CMD(cmd_calendar_import);
CMD(cmd_calendar_put);
CMD(cmd_calendar_delete);
