# What clients/vectors.json says, of memsess.rb: exits with 0 where all of it holds.
require 'stringio'
require_relative '../memsess'

VECTORS = JSON.parse(File.read(File.expand_path('../../vectors.json', __dir__)))
Codec = MemSess::Codec
$failed = 0
$held = 0

def holds(what)
  if yield
    $held += 1
  else
    $failed += 1
    warn "does not hold: #{what.inspect}"
  end
rescue StandardError => e
  $failed += 1
  warn "does not hold: #{what.inspect}: #{e.class} #{e.message}\n #{e.backtrace.first(3).join("\n ")}"
end

def refused(what, named = nil)
  holds(what) do
    yield
    false
  rescue MemSess::Error => e
    named.nil? || e.message.include?(named)
  end
end

# The same text, or JSON that means the same.
def same?(one, other)
  one, other = one.b, other.b
  return true if one == other

  a, b = Codec.parse(one), Codec.parse(other)
  !a.equal?(one) && !b.equal?(other) && !a.is_a?(String) == !b.is_a?(String) && a == b
end

# What a request with these variables, and an application that does so, answers: status, headers by name.
def request(variables, options = {}, &application)
  env = { 'REQUEST_METHOD' => 'GET', 'PATH_INFO' => '/', 'rack.errors' => StringIO.new }.merge(variables)
  status, headers, = MemSess::Session.new(lambda { |e|
    application.call(e['rack.session'])
    [200, {}, []]
  }, options).call(env)
  [status, headers.to_h { |k, v| [k.downcase.delete_prefix('memsess-'), v.is_a?(Array) ? v : v.split("\n")] }]
end

def active(data)
  { 'HTTP_MEMSESS_STATE' => 'active', 'HTTP_MEMSESS_ID' => 'id', 'HTTP_MEMSESS_DATA' => data }
end

def pairs(lines)
  (lines || []).flat_map { |l| l.split('&') }.to_h { |p| p.split('=', 2).map { |s| CGI.unescape(s) } }
end

VECTORS['names'].each do |v|
  holds(v) { Codec.name(v['key']) == v['name'] && Codec.key(v['name']) == v['key'] }
end
VECTORS['names_refused'].each { |v| refused(v, v['key'][0, 20]) { Codec.name(v['key']) } }
VECTORS['names_left_alone']['names'].each { |name| holds(name) { Codec.key(name).nil? } }

values = VECTORS['values']
values['both'].each do |v|
  holds(v) { same?(Codec.encode(v['value']), v['text']) && Codec.decode(v['text']) == v['value'] }
end
values['read_only'].each { |v| holds(v) { Codec.decode(v['text']) == v['value'] } }
values['large_integers'].each { |v| holds(v) { Codec.encode(Codec.decode(v['text'])) == v['text'] } }
[Float::NAN, Float::INFINITY, -Float::INFINITY, Object.new, { [] => 1 }].each do |value|
  refused(value, 'thekey') { request(active('')) { |s| s['thekey'] = value } }
end
VECTORS['plain']['both'].each do |v|
  holds(v) { Codec.encode(v['value'], true) == v['text'] && Codec.decode(v['text'], true) == v['value'] }
end
VECTORS['plain']['write_only'].each { |v| holds(v) { Codec.encode(v['value'], true) == v['text'] } }
VECTORS['plain']['refused']['values'].each { |v| refused(v) { Codec.encode(v, true) } }

VECTORS['tags']['known'].each do |v|
  means = v['means']
  wanted = if means['hex'] then [means['hex']].pack('H*')
           elsif means['date'] then Time.at(means['date'])
           elsif means['dict'] then means['dict']
           end
  got = Codec.decode(v['text'])
  holds(v) { wanted.nil? ? got.instance_of?(MemSess::Tagged) : got == wanted && !got.instance_of?(MemSess::Tagged) }
  holds(v) { same?(Codec.encode(got), v['text']) }
end
(VECTORS['tags']['kept']['texts'] + VECTORS['tags']['nested'].map { |v| v['text'] }).each do |text|
  holds(text) { same?(Codec.encode([Codec.decode(text), 1]), "[#{text},1]") }
end

VECTORS['data'].each do |v|
  seen = nil
  status, headers = request(active(v['data'])) { |s| seen = s.to_hash }
  holds(v) { seen == v['dict'] && status == 200 && headers.empty? }
end
VECTORS['set']['both'].each do |v|
  _, headers = request(active('')) { |s| s[Codec.key(v['name'])] = v['text'] }
  holds(v) { headers['set'] == [v['pair']] || pairs(headers['set']) == { v['name'] => v['text'] } }
end
VECTORS['parts'].each do |v|
  seen = nil
  ask = -> { request(v['variables']) { |s| seen = s.to_hash } }
  v['error'] ? refused(v, &ask) : holds(v) { ask.call && seen == v['dict'] }
end
VECTORS['states'].each do |state, does|
  seen = nil
  status, = request(active('a=1').merge('HTTP_MEMSESS_STATE' => state)) { |s| seen = s.to_hash }
  holds(state) do
    case does
    when 'new'   then status == 200 && seen == {}
    when 'load'  then status == 200 && seen == { 'a' => 1 }
    when 'error' then status == 503 && seen.nil?
    end
  end
end
(VECTORS['changes'] + VECTORS['nulls']['changes'].map { |v| v.merge(v['dropped']) }).each do |v|
  _, headers = request(active(v['data'])) { |s| s.replace(v['now']) }
  holds(v) do
    pairs(headers['set']) == v['set'] && (headers['unset'] || []).flat_map { |l| l.split('&') } == v['unset']
  end
end

refused('absent', 'MemSessExpose') { request({}) { |_| } }
refused('state', 'odd') { request('HTTP_MEMSESS_STATE' => 'odd') { |_| } }
refused('line', 'big') { request(active('')) { |s| s['big'] = 'x' * 9000 } }
refused('line', 'responsefieldsize') { request(active('')) { |s| s['big'] = 'x' * 9000 } }
refused('line', 'big') do
  request({ 'MEMSESS_STATE' => 'none' }, field_size: 100_000) { |s| s['big'] = 'x' * 9000 }
end
holds('line') { request(active(''), field_size: 100_000) { |s| s['big'] = 'x' * 9000 } }
refused('sent', 'after the response') do
  request(active('')) { |s| $late = s }
  $late['a'] = 1
end
def late(&change)
  env = { 'REQUEST_METHOD' => 'GET', 'PATH_INFO' => '/' }.merge(active('a=%7B%22b%22%3A1%7D'))
  _, _, body = MemSess::Session.new(->(_) { [200, {}, ['x'].each] }).call(env)
  change.call(env['rack.session'], env['rack.session.options'])
  body.close
end
refused('sent', 'while the body') { late { |_, options| options[:renew] = true } }
refused('sent', 'while the body') { late { |session, _| session['a']['b'] = 2 } }
refused('sent', 'after the response') { late { |session, _| session.destroy } }
holds('read late') { late { |session, _| session['a']['b'] } || true }
_, headers = request(active('')) { |s| 10.times { |n| s["k#{n}"] = 'x' * 1000 } }
holds('several lines') { headers['set'].size > 2 && headers['set'].all? { |l| l.size <= 4000 } && pairs(headers['set']).size == 10 }
holds('a log-in renews') do
  request(active('user=ann'), plain: ['user']) { |s| s['user'] = 'eve' }[1] == { 'set' => ['user=eve'], 'renew' => ['1'] }
end
holds('null at the top is no value') { request(active('a=1')) { |s| s['a'] = nil }[1] == { 'unset' => ['a'] } }
holds('null that came is left') { request(active('a=null')) { |s| s['b'] = 1 }[1] == { 'set' => ['b=1'] } }

puts "#{$held} hold, #{$failed} do not"
exit($failed.zero? ? 0 : 1)
