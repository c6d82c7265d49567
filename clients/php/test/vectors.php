#!/usr/bin/php
<?php
// Licensed under the Apache License, Version 2.0; see LICENSE.

// clients/php/memsess.php against clients/vectors.json.

namespace MemSess;

require dirname(__DIR__) . '/memsess.php';

$vectors = json_decode(file_get_contents(dirname(__DIR__, 2) . '/vectors.json'), true, 512, JSON_THROW_ON_ERROR);
// The same with objects, to tell {} from [].
$exact = json_decode(file_get_contents(dirname(__DIR__, 2) . '/vectors.json'));
$codec = new Codec();
$held = $failed = 0;

function holds(bool $is, string $what, mixed ...$found): void
{
    global $held, $failed;
    $is ? $held++ : $failed++;
    $is || print("does not hold: $what: " . json_encode($found, JSON_PARTIAL_OUTPUT_ON_ERROR) . "\n");
}

function is(mixed $found, mixed $wanted, string $what): void
{
    holds($found === $wanted, $what, $found, $wanted);
}

function refuses(callable $work, string $pattern, string $what): void
{
    try {
        holds(false, "$what is refused", $work());
    } catch (\Throwable $e) {
        holds($e instanceof Error && preg_match($pattern, $e->getMessage()), "$what: " . $e->getMessage());
    }
}

function active(string $data): State
{
    return new State(new Codec(), ['MEMSESS_STATE' => 'active', 'MEMSESS_ID' => 'id', 'MEMSESS_DATA' => $data]);
}

// What it would say: names of headers to lists of their values.
function said(State $state, array $values, int $lifetime = 0): array
{
    return array_filter($state->headers($state->texts($values), $lifetime));
}

foreach ($vectors['names'] as ['key' => $key, 'name' => $name]) {
    is($codec->name($key), $name, "the name of $key");
    is($codec->key($name), (string)$key, "the key of $name");
}
foreach ($vectors['names_refused'] as ['key' => $key]) {
    refuses(fn() => $codec->name($key), '/' . preg_quote($key) . '/', "the key $key");
}
foreach ($vectors['names_left_alone']['names'] as $name) {
    is($codec->key($name), null, "the name $name");
}

// PHP has one kind of array: {} is [].
foreach ($vectors['values']['both'] as $n => ['value' => $value, 'text' => $text]) {
    is($codec->decode('a', $text), $value, "reads $text");
    if (!str_contains(json_encode($exact->values->both[$n]->value), '{}')) {
        is($codec->encode('a', $value), $text, "writes $text");
    }
}
foreach ($vectors['values']['read_only'] as ['value' => $value, 'text' => $text]) {
    holds($codec->decode('a', $text) == $value, "reads $text", $codec->decode('a', $text));
}
is($codec->decode('a', '9007199254740993'), 9007199254740993, 'integers of 64 bits');
is($codec->decode('a', '-12345678901234567890123'), '-12345678901234567890123', 'longer ones as strings');
foreach (['TRUE', '[True]', 'Null', '[falsE]', '{"a":nuLl}'] as $text) {
    is($codec->decode('a', $text), $text, "$text is no JSON");
    is($codec->encode('a', $text), $text, "$text is no JSON");
}
foreach ([NAN, INF, -INF, [NAN], fn() => 1, fopen('php://memory', 'r')] as $value) {
    refuses(fn() => $codec->encode('the key', $value), "/'the key'/", gettype($value));
}
foreach ([str_repeat('[', 600) . str_repeat(']', 600), '"\ud800"', '["\ud800"]', '{"\u0000a":1}', str_repeat('9', 5000),
        str_repeat('"', 100000), '"' . str_repeat('\\\\', 50000) . '"', "\u{feff}42", '1e999'] as $text) {
    $written = $codec->encode('a', $text);
    is($codec->decode('a', $written), $text, 'a string: ' . substr($text, 0, 20));
}
is($codec->decode('a', '{"\u0000a":{"b":1}}'), ["\0a" => ['b' => 1]], 'a name that begins with NUL');

$plain = new Codec();
$plain->plain = ['a'];
foreach ($vectors['plain']['both'] as ['value' => $value, 'text' => $text]) {
    is($plain->encode('a', $value), $text, "plain: writes $text");
    is($plain->decode('a', $text), $value, "plain: reads $text");
}
foreach ($vectors['plain']['write_only'] as ['value' => $value, 'text' => $text]) {
    is($plain->encode('a', $value), $text, "plain: writes $text");
}
foreach ($vectors['plain']['refused']['values'] as $value) {
    refuses(fn() => $plain->encode('a', $value), '/NUL/', 'plain: a NUL');
}

foreach ($vectors['tags']['known'] as ['text' => $text, 'means' => $means]) {
    $value = $codec->decode('a', $text);
    $wanted = match (key($means)) {
        'hex' => hex2bin($means['hex']),
        'dict' => $means['dict'],
        'items' => $means['items'],
        default => null,
    };
    $wanted === null ? holds($value instanceof Tagged, "keeps $text", $value) : is($value, $wanted, "reads $text");
    // What is text is written as text, and PHP has no tuples.
    if (!in_array($text, ['{" b":""}']) && key($means) !== 'items') {
        is($codec->encode('a', $value), $text, "writes $text");
    }
}
foreach ([...$vectors['tags']['kept']['texts'], ...array_column($vectors['tags']['nested'], 'text'), '{" php":5}',
        '{" php":"!"}', '{" x":{}}'] as $text) {
    if ($text !== '{"a":[{" b":"AAH/"},{" di":{" b__":"x"}}]}') {
        holds($codec->decode('a', $text) instanceof Tagged, "keeps $text");
    }
    is($codec->encode('a', [$codec->decode('a', $text)]), "[$text]", "writes $text");
    is($codec->encode('a', [unserialize(serialize($codec->decode('a', $text)))]), "[$text]", "writes $text, of \$_SESSION");
}

foreach ($vectors['data'] as ['data' => $data, 'dict' => $dict]) {
    is(active($data)->values(), $dict, "data: $data");
}
foreach ($vectors['set']['both'] as ['name' => $name, 'text' => $text, 'pair' => $pair]) {
    $said = said(active(''), [$codec->key($name) => $codec->decode('a', $text)]);
    is($said, ['MemSess-Set' => [$pair]], "set $pair");
}
foreach ($vectors['parts'] as $case) {
    if (isset($case['error'])) {
        refuses(fn() => new State($codec, $case['variables']), '/lost/', json_encode($case['variables']));
    } else {
        is((new State($codec, $case['variables']))->values(), $case['dict'], 'parts');
    }
}
foreach ($vectors['states'] as $name => $does) {
    $make = fn() => new State($codec, ['MEMSESS_STATE' => $name, 'MEMSESS_DATA' => 'a=1']);
    $does === 'error' ? refuses($make, '/unavailable/', $name) : is($make()->values(), $does === 'load' ? ['a' => 1] : [], $name);
}
refuses(fn() => new State($codec, []), '/not in front/', 'no variables');
refuses(fn() => new State($codec, ['MEMSESS_STATE' => 'odd']), '/odd/', 'an odd state');
is((new State($codec, ['HTTP_MEMSESS_STATE' => 'active', 'HTTP_MEMSESS_DATA' => 'a=1']))->values(), ['a' => 1], 'headers');
$nulls = array_map(fn($v) => $v['kept'] + $v, $vectors['nulls']['changes']);
foreach ([...$vectors['changes'], ...$nulls] as ['data' => $data, 'now' => $now, 'set' => $set, 'unset' => $unset]) {
    $said = said(active($data), $now);
    $pairs = [];
    foreach (array_filter(explode('&', implode('&', $said['MemSess-Set'] ?? []))) as $pair) {
        [$name, $text] = explode('=', $pair);
        $pairs[$name] = rawurldecode($text);
    }
    is($pairs, $set, "changes of $data: set");
    is(implode('&', $said['MemSess-Unset'] ?? []), implode('&', $unset), "changes of $data: unset");
}

// Long ones.
$many = array_combine(array_map(fn($n) => "key$n", range(1, 20)), array_fill(0, 20, str_repeat('x', 1000)));
is(array_map(fn($line) => substr_count($line, '&') + 1, said(active(''), $many)['MemSess-Set']), [3, 3, 3, 3, 3, 3, 2], 'lines');
$narrow = new State($codec, ['MEMSESS_STATE' => 'none'], 8160);
is(count(said($narrow, ['big' => str_repeat('x', 8156)])['MemSess-Set']), 1, 'what just fits');
refuses(fn() => said($narrow, ['big' => str_repeat('x', 8157)]), '/attribute big .*responsefieldsize/', 'what is too long');

// Objects, which stay what they are; one object in one value stays one.
class Thing
{
    private array $secret = ["\xff", 1.5];
    public ?Thing $self = null;
    public static int $woken = 0;
    public function __wakeup(): void { self::$woken++; }
}
enum Suit: string { case Hearts = 'h'; }
$thing = new Thing();
$thing->self = $thing;
foreach ([$thing, [$thing, $thing], new \DateTimeImmutable('2024-01-02 03:04:05.678', new \DateTimeZone('Europe/Berlin')),
        Suit::Hearts, ['s' => Suit::Hearts], new \ArrayObject([1, 'a' => 2]), (object)['a' => 1], ["\xff" => 1]] as $value) {
    $text = $codec->encode('a', $value);
    holds(str_starts_with($text, '{" php":"'), 'PHP\'s own', $text);
    Thing::$woken = 0;
    $loaded = $codec->decode('a', $text);
    is(Thing::$woken, 0, 'is not woken by reading');
    is(said(active('a=' . rawurlencode($text)), ['a' => $value]), [], 'is no change');
    $back = unserialize(serialize($loaded));
    is(serialize($back), serialize($value), 'comes back');
}
$codec->objects = false;
holds($codec->decode('a', $codec2 = (new Codec())->encode('a', $thing)) instanceof Tagged, 'without objects they are kept');
refuses(fn() => $codec->encode('a', $thing), '/object of/', 'and not written');

echo "$held hold, $failed do not\n";
exit($failed ? 1 : 0);
