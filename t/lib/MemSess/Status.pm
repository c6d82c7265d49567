package MemSess::Status;
# The /status of a member, in the forms for machines.
use strict;
use warnings;

use Exporter 'import';
use JSON::PP;
use MemSess::Client;
use Test::More import => [qw(is diag)];

our @EXPORT = qw(status metrics);

sub status { return decode_json(MemSess::Client->new($_[0])->get('/status?format=json')->body) }

# The families of the form for Prometheus, each [name, type, help, [[name, labels, value], ...]],
# as Debian's python3-prometheus-client reads them.
sub metrics {
    my ($text) = @_;
    my $file = "$ENV{MEMSESS_T_ROOT}/logs/metrics-$$";
    open my $out, '>', $file or die $!;
    print $out $text;
    close $out;
    my $parsed = qx(/usr/bin/python3 -c '
import json, sys
from prometheus_client.parser import text_fd_to_metric_families
print(json.dumps([[f.name, f.type, f.documentation,
                   [[s.name, s.labels, str(s.value)] for s in f.samples]]
                  for f in text_fd_to_metric_families(open(sys.argv[1]))]))' '$file' 2>&1);
    is $?, 0, 'parsed' or diag $parsed;
    return @{ decode_json($parsed) };
}

1;
