package MemSess::Log;
# A log file, read from a mark on.
use strict;
use warnings;
use MemSess::Process ();

# All logs of this process, for the checks at its end.
our @logs;

sub new {
    my ($class, $file) = @_;
    my $self = bless { file => $file }, $class;
    $self->{start} = $self->mark;
    push @logs, $self;
    return $self;
}

# Since this test began: crashes, and any of these strings.
sub faults {
    my ($self, @secrets) = @_;
    my @lines = split /\n/, $self->text($self->{start});
    my $pattern = join '|', qr/exit signal (?!Killed)/, qr/AddressSanitizer|runtime error:/,
        map { quotemeta } @secrets;
    return @lines[grep { $lines[$_] =~ /$pattern/ && !is_httpds_own($_, \@lines) } 0 .. $#lines];
}

# When a child of the event MPM is told to stop at once, its main thread closes the workers' sockets
# while these end, and may use one that is freed already. A line close by says that.
sub is_httpds_own {
    my ($at, $lines) = @_;
    my ($from, $to) = ($at < 5 ? 0 : $at - 5, $at + 20 > $#$lines ? $#$lines : $at + 20);
    return $lines->[$at] =~ /exit signal Segmentation fault/
        && grep { /caught SIGTERM, shutting down|SIGHUP received/ } @$lines[$from .. $to];
}

sub mark { -s $_[0]{file} // 0 }

sub text {
    my ($self, $mark) = @_;
    open my $in, '<', $self->{file} or return '';
    seek $in, $mark // 0, 0;
    local $/;
    return scalar(<$in>) // '';
}

sub wait_for {
    my ($self, $pattern, $mark) = @_;
    return MemSess::Process::wait_for(60, sub { $self->text($mark) =~ $pattern });
}

1;
