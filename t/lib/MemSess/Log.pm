package MemSess::Log;
# A log file, read from a mark on.
use strict;
use warnings;
use MemSess::Process ();

# All of this process, for what is checked at the end.
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
    my $text = $self->text($self->{start});
    # httpd's own: where a child of the event MPM is told to stop at once, its main thread closes
    # the workers' sockets while these end, and may look at one that is gone already.
    my $told = qr/caught SIGTERM, shutting down|SIGHUP received/;
    $text =~ s/^.*exit signal Segmentation fault.*\n(?=(?:.*\n){0,20}?.*$told)//mg;
    my @lines = split /\n/, $text;
    my $pattern = join '|', qr/exit signal (?!Killed)/, qr/AddressSanitizer|runtime error:/,
        map { quotemeta } @secrets;
    return grep { /$pattern/ } @lines;
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
    return MemSess::Process::wait_for(20, sub { $self->text($mark) =~ $pattern });
}

1;
