package MemSess::Preload;
# Small libraries that are loaded before all others of a process, in t/preload: what no
# configuration can do to it. Each is built once a run, by the compiler that builds the module.
use strict;
use warnings;

# The environment, as `env` takes it, in which a command has these libraries: sources' names
# without .c.
sub environment {
    my (@names) = @_;
    # Before the sanitizers' libraries, whose own functions of these names would be the module's callers.
    return ('LD_PRELOAD=' . join(' ', grep { $_ } map({ built($_) } @names), $ENV{LD_PRELOAD}),
        'ASAN_OPTIONS=' . join ':', grep { $_ } $ENV{ASAN_OPTIONS}, 'verify_asan_link_order=0');
}

sub built {
    my ($name) = @_;
    my $source  = "$ENV{MEMSESS_T_ROOT}/preload/$name.c";
    my $library = "$ENV{MEMSESS_T_ROOT}/logs/$name.so";
    return $library if -e $library;
    system($ENV{CC} || 'cc', qw(-shared -fPIC -O1 -Wall -Wextra -o), "$library-$$", $source,
           qw(-ldl -lpthread)) == 0 && rename "$library-$$", $library
        or die "$source cannot be built\n";
    return $library;
}

1;
