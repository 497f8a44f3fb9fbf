#pragma once
// Victims of the tests of exec (exec_test.cpp).

/// What a process can tell of what contains it, a line each: "key value".
int tell_facts();
/// Waits, under a name that no terminal should ever see.
int hide_behind_a_name();
/// What it can tell of its terminal.
int tell_terminal();
/// Attacks every process that appears until there is a file /tmp/stop; then tells how many it saw and caught before they executed, and what
/// it got hold of.
int ambush();
