package Futex;

# Counts the futex system calls of processes: each is a thread that waits for
# another one, or wakes it.

use strict;
use warnings;

use Rig;

use IO::Handle;
use POSIX ();
use Socket;

my $root;    # a process that keeps root's rights, which perf needs

# To be called before rights are left behind.
sub keep_rights {
    return if $> != 0;
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!\n";
    my $pid = fork;
    die "fork: $!\n" if !defined $pid;
    if ($pid) {
        close $theirs;
        $ours->autoflush(1);
        return $root = $ours;
    }
    $SIG{$_} = 'IGNORE' for qw(INT TERM HUP);    # it ends with its asker
    close $ours;
    $theirs->autoflush(1);
    while (defined(my $line = <$theirs>)) {
        my ($seconds, $pids) = $line =~ /^([\d.]+) ([\d,]+)$/ or last;
        my $text = `perf stat -x, -e syscalls:sys_enter_futex -p $pids -- sleep $seconds 2>&1`;
        print {$theirs} $text =~ /^(\d+),/m ? "$1\n" : "\n";
    }
    POSIX::_exit(0);
}

# By strace instead, which slows them down.
sub _by_strace {
    my ($seconds, @pids) = @_;
    my $output = Rig::directory() . '/futex';
    my $pid = Rig::spawn($output, 'timeout', '-s', 'INT', $seconds, 'strace', '-q', '-f', '-c',
        '-e', 'trace=futex', '-o', "$output.count", map { ('-p', $_) } @pids);
    return sub {
        Rig::finish($pid, $seconds + 30);
        return Rig::slurp("$output.count") =~ /\s(\d+)(?:\s+\d+)? futex$/m ? $1 : 0;
    };
}

# Counts for so many seconds from now on; returns what waits for the count, which
# is undef where neither perf nor strace can tell.
sub count {
    my ($seconds, @pids) = @_;
    return _by_strace($seconds, @pids) if !$root;
    print {$root} "$seconds @{[join ',', @pids]}\n";
    return sub {
        my $count = <$root>;
        return defined $count && $count =~ /(\d+)/ ? $1 : undef;
    };
}

sub means { return $root ? 'perf stat' : 'strace, which slows the children down' }

1;
