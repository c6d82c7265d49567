# packaging/grafana: the dashboard and the alert rules name metrics that members really have, and
# labels that these metrics have.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use JSON::PP;
use MemSess::Faults;
use MemSess::Status;
use MemSess::Test;

my $dir = "$ENV{MEMSESS_T_ROOT}/../packaging/grafana";
my @pool = pool(2);
my $m = MemSess::Member->start(servers => \@pool, config => timing() . q(
    <Location "/status">
        SetHandler memsess-status
    </Location>
));
started($m);

# The labels of each sample that a member sends, once its servers have told their figures.
my %labels;
wait_for(20, sub {
    my @families = metrics(client($m)->get('/status?format=prometheus')->body);
    %labels = map { $_->[0] => { map { $_ => 1 } keys %{ $_->[1] }, qw(job instance) } }
        map { @{ $_->[3] } } @families;
    return $labels{memsess_server_memory_bytes};
});

sub text_of { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return <$in> }

# The metrics in an expression that no member has, and the labels that metrics lack.
sub unknown {
    my ($expr) = @_;
    my @names = $expr =~ /\b(memsess_\w+)/g or return "no metric in $expr";
    my %all = map { %{ $labels{$_} // {} } } @names;
    my @used = map { split /\s*,\s*/ } $expr =~ /\b(?:by|without) \(([^)]*)\)/g;
    push @used, $expr =~ /[{,]\s*(\w+)\s*[!=]/g;
    return ((grep { !$labels{$_} } @names), map { "$_ in $expr" } grep { !$all{$_} } @used);
}

subtest 'the dashboard' => sub {
    my $board = decode_json(text_of("$dir/memsess.json"));
    my @panels = @{ $board->{panels} };
    cmp_ok scalar @panels, '>', 5, 'panels';
    my (%id, %at);
    for my $panel (@panels) {
        ok !$id{ $panel->{id} }++, "$panel->{title}: an id of its own";
        my $pos = $panel->{gridPos};
        my @cells = map { my $x = $_; map { "$x,$_" } $pos->{y} .. $pos->{y} + $pos->{h} - 1 }
            $pos->{x} .. $pos->{x} + $pos->{w} - 1;
        is scalar(grep { $at{$_}++ } @cells), 0, 'and a place';
        cmp_ok $pos->{x} + $pos->{w}, '<=', 24, 'within the page';
        is_deeply [map { unknown($_->{expr}) } @{ $panel->{targets} }], [], 'what it shows is there';
    }
    my @queries = map { ref $_->{query} ? $_->{query}{query} : () } @{ $board->{templating}{list} };
    is_deeply [grep { !/^label_values\((\w+)/ || !$labels{$1} } @queries], [], 'variables';
};

subtest 'the alert rules' => sub {
    my $file = "$dir/alerts.yml";
    my $json = qx(/usr/bin/ruby -ryaml -rjson -e 'puts JSON.dump(YAML.load_file(ARGV[0]))' '$file' 2>&1);
    is $?, 0, 'YAML' or return diag $json;
    my @rules = map { @{ $_->{rules} } } @{ decode_json($json)->{groups} };
    cmp_ok scalar @rules, '>', 5, 'rules';
    for my $rule (@rules) {
        like $rule->{alert}, qr/^MemSess\w+$/, 'its name';
        is_deeply [unknown($rule->{expr})], [], 'what it asks for is there';
        like $rule->{labels}{severity}, qr/^(?:critical|warning)$/, 'how bad it is';
        my @told = map { /\$labels\.(\w+)/g } values %{ $rule->{annotations} };
        my %has = map { %{ $labels{$_} } } grep { $labels{$_} } $rule->{expr} =~ /\b(memsess_\w+)/g;
        is_deeply [grep { !$has{$_} } @told], [], 'and it can tell whose';
    }
};

subtest 'what is not there is found' => sub {
    is_deeply [unknown('rate(memsess_no_such_total[5m])')], ['memsess_no_such_total'], 'a metric';
    is scalar(unknown('sum by (kind) (memsess_server_up)')), 1, 'a label';
};

# metrics() also checks the format each time.
done_testing;
