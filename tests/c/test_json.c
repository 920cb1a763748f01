/* JSON texts: what is read, what is refused, and numbers in any locale. */
#include "check.h"
#include "json.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_text(json *j, const char *text, size_t n, int surrogates)
{
    /* The reader must not look beyond the text. */
    char *copy = guarded_new(n ? n : 1);
    memcpy(copy, text, n);
    int failed = cmlp_json_read(j, copy, n, surrogates);
    guarded_free(copy);
    return failed;
}

static void test_good(void)
{
    static const char *const good[] = {"null",
                                       " true ",
                                       "false\n",
                                       "0",
                                       "-0",
                                       "-12.5e+3",
                                       "1E5",
                                       "1e-0",
                                       "\"\"",
                                       "\"a\\u00e4\\n\\/\"",
                                       "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
                                       "[]",
                                       "[ ]",
                                       "[1,[2,[]],{}]",
                                       "{}",
                                       "{ }",
                                       "{\"a\":1, \"b\" : [true] ,\"\":null}",
                                       "[[[[[[]]]]]]",
                                       "\"\\ud83d\\ude00\"",
                                       "\r\t[1]\r\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        json j;
        int failed = read_text(&j, good[i], strlen(good[i]), 0);
        CHECK(!failed, "%s: %s at %zu", good[i], j.wrong ? j.wrong : "no memory", j.at);
        cmlp_json_free(&j);
    }
}

static void test_bad(void)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "nul",
                                      "nulll",
                                      "True",
                                      "NaN",
                                      "Infinity",
                                      "-",
                                      "+1",
                                      "01",
                                      "1.",
                                      ".5",
                                      "1e",
                                      "1e+",
                                      "0x1",
                                      "1 2",
                                      "\"",
                                      "\"a",
                                      "\"\\\"",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\\u12g4\"",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\n\"",
                                      "\"\x01\"",
                                      "\"\x80\"",
                                      "\"\xc0\xaf\"",
                                      "\"\xc3\"",
                                      "\"\xe0\x80\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xf8\x88\x80\x80\x80\"",
                                      "[",
                                      "]",
                                      "[1",
                                      "[1,",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "[1}",
                                      "{",
                                      "}",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{\"a\":1",
                                      "{a:1}",
                                      "{1:1}",
                                      "{\"a\" 1}",
                                      "{\"a\":1 \"b\":2}",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":1,\"\\u0061\":2}",
                                      "[{\"x\":{\"k\":1,\"l\":2,\"k\":3}}]",
                                      "'a'",
                                      "\xef\xbb\xbf[]",
                                      "/**/1",
                                      "[1]]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json j;
        int failed = read_text(&j, bad[i], strlen(bad[i]), 0);
        CHECK(failed && j.wrong && j.at <= strlen(bad[i]), "%s is read", bad[i]);
        cmlp_json_free(&j);
    }
    json j;
    CHECK(read_text(&j, "[1]\0", 4, 0) && j.wrong, "a 0 behind the value is read");
    cmlp_json_free(&j);
    CHECK(read_text(&j, "\"\0\"", 3, 0) && j.wrong, "a 0 in a string is read");
    cmlp_json_free(&j);
}

static void test_depth(void)
{
    enum { MOST = JSON_MOST_DEPTH };
    char text[2 * (MOST + 1)];
    for (size_t depth = MOST; depth <= MOST + 1; depth++) {
        json j;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        int failed = read_text(&j, text, 2 * depth, 0);
        CHECK(!failed == (depth <= MOST), "%zu arrays within each other", depth);
        cmlp_json_free(&j);
    }
}

static void test_lookups(void)
{
    const char *text =
        "{\"a\": [1, 2, {\"x\": 3}], \"b\": \"t\\u00e9\\u0000x\", \"n\": 18446744073709551615, "
        "\"big\": 18446744073709551616, \"f\": 1.5, \"minus\": -1, \"huge\": 1e999}";
    json j;
    uint64_t whole;
    double number;
    int failed = read_text(&j, text, strlen(text), 0);
    CHECK(!failed, "%s", j.wrong);
    size_t a = cmlp_json_member(&j, 0, "a"), b = cmlp_json_member(&j, 0, "b");
    CHECK(cmlp_json_count(&j, 0) == 7 && cmlp_json_count(&j, a) == 3, "%zu members", cmlp_json_count(&j, 0));
    CHECK(!cmlp_json_member(&j, 0, "x") && !cmlp_json_member(&j, a, "a"), "members that are not there");
    CHECK(j.values[b].length == 5 && !memcmp(json_string(&j, b), "t\xc3\xa9\0x", 5), "a string with escapes");
    CHECK(!cmlp_json_is(&j, b, "t\xc3\xa9"), "a string is cut off at its 0");
    CHECK(cmlp_json_whole(&j, cmlp_json_member(&j, 0, "n"), &whole) && whole == UINT64_MAX, "2^64 - 1");
    static const char *const none[] = {"big", "f", "minus", "a", "b", "huge"};
    for (size_t i = 0; i < 6; i++)
        CHECK(!cmlp_json_whole(&j, cmlp_json_member(&j, 0, none[i]), &whole), "%s is a whole number",
              none[i]);
    CHECK(cmlp_json_number(&j, cmlp_json_member(&j, 0, "f"), &number) && number == 1.5, "%g", number);
    CHECK(!cmlp_json_number(&j, cmlp_json_member(&j, 0, "huge"), &number), "infinity is a number");
    cmlp_json_free(&j);
    CHECK(!read_text(&j, "\"\\ud800x\"", 9, 1) && j.values[0].length == 4, "half a pair that is allowed");
    cmlp_json_free(&j);
}

/* Many names, some of them equal: found, and in little time, whatever their order. */
static void test_many_names(void)
{
    enum { NAMES = 100000 };
    for (int twice = 0; twice < 2; twice++) {
        json_text t = {.data = NULL};
        json j;
        for (int i = 0; i < NAMES; i++)
            cmlp_text_print(&t, "%s\"%d\":0", i ? "," : "{", i * 7919 % NAMES);
        cmlp_text_print(&t, twice ? ",\"5000\":1}" : "}");
        CHECK(!t.failed && !cmlp_json_read(&j, t.data, t.length, 0) == !twice, "names that stand twice");
        cmlp_json_free(&j);
        free(t.data);
    }
}

static void test_writing(void)
{
    static const double numbers[] = {
        0.0, 0.25, -1.0 / 3, 1e300, 5e-324, 1.7976931348623157e308, 1e15, 0.1 + 0.2, 123456789012345678.0,
        -0.0};
    json_text t = {.data = NULL};
    json j;
    cmlp_text_print(&t, "[");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        cmlp_text_number(&t, numbers[i]);
        cmlp_text_print(&t, ",");
    }
    const char odd[] = "\"\\/\b\n\x1f\xc3\xa4 \0.";
    cmlp_text_quote(&t, odd, sizeof odd - 1);
    cmlp_text_print(&t, "]");
    CHECK(!t.failed && !cmlp_json_read(&j, t.data, t.length, 0), "what was written is not read: %s", t.data);
    size_t at = 1;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++, at++) {
        double number = 0.0;
        CHECK(cmlp_json_number(&j, at, &number) && memcmp(&number, &numbers[i], sizeof number) == 0,
              "%.17g is written and read as %.17g", numbers[i], number);
    }
    CHECK(j.values[at].length == sizeof odd - 1 && !memcmp(json_string(&j, at), odd, sizeof odd - 1),
          "a string");
    cmlp_json_free(&j);
    free(t.data);
}

void test_json(void)
{
    test_good();
    test_bad();
    test_depth();
    test_lookups();
    test_many_names();
    test_writing();
    /* A locale whose point is a comma, where the system has one. */
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    for (size_t i = 0; i < 4; i++)
        if (setlocale(LC_ALL, locales[i])) {
            test_writing();
            break;
        }
    setlocale(LC_ALL, "C");
}
