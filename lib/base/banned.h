// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Takt authors
/* Calls that Takt does not make; including this turns each into a compile error. */
#pragma once

#pragma GCC poison strcpy strcat sprintf vsprintf gets strncpy strncat strtok system popen tmpnam \
    mktemp
