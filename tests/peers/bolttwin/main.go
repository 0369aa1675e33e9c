// Bolttwin holds our writer and reader of bbolt files against bbolt itself.
//
// Ours, read by bbolt: its check finds nothing, it iterates over what was written, and goes on writing into the file,
// which finds what only matters then (the keys of branches). Its own, after random transactions with nested buckets,
// sequences, values over many pages, of all page sizes, with a list of free pages and without: ours finds the same.
//
// Usage: bolttwin -tool build/release/bin/bolt_file [-n rounds] [-seed first]
package main

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"

	"go.etcd.io/bbolt"
)

func main() {
	tool := flag.String("tool", os.Getenv("KEELSON_BOLT_FILE"), "bolt_file of the build (default $KEELSON_BOLT_FILE)")
	rounds := flag.Int("n", 40, "rounds")
	seed := flag.Int64("seed", 1, "of the first round")
	flag.Parse()
	for i := range int64(*rounds) {
		if err := round(*tool, *seed+i); err != nil {
			fmt.Fprintf(os.Stderr, "bolttwin: seed %d: %v\n", *seed+i, err)
			os.Exit(1)
		}
	}
	fmt.Printf("bolttwin: %d rounds\n", *rounds)
}

func round(tool string, seed int64) error {
	dir, err := os.MkdirTemp("", "bolttwin")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	random := rand.New(rand.NewSource(seed))
	if err := ourFile(tool, filepath.Join(dir, "ours"), random); err != nil {
		return fmt.Errorf("our file: %w", err)
	}
	if err := itsFile(tool, filepath.Join(dir, "its"), random); err != nil {
		return fmt.Errorf("bbolt's file: %w", err)
	}
	return nil
}

// The form of bolt_file's output, indented by nothing.
type lines []string

func hexOf(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return hex.EncodeToString(b)
}

func ourFile(tool, path string, random *rand.Rand) error {
	content := map[string]map[string][]byte{}
	for range random.Intn(7) {
		keys := map[string][]byte{}
		for range []int{0, 3, 40, 3000}[random.Intn(4)] {
			keys[randomKey(random)] = randomValue(random)
		}
		content[fmt.Sprintf("bucket%d", random.Intn(1000))] = keys
	}
	var script strings.Builder
	for _, name := range sorted(content) {
		fmt.Fprintf(&script, "%s %s\n", []string{"bucket", "large"}[random.Intn(2)], hexOf([]byte(name)))
		for _, key := range sorted(content[name]) {
			fmt.Fprintf(&script, "put %s %s\n", hexOf([]byte(key)), hexOf(content[name][key]))
		}
	}
	pageSize := 1024 << random.Intn(5)
	write := exec.Command(tool, "write", path, fmt.Sprint(pageSize))
	write.Stdin = strings.NewReader(script.String())
	if out, err := write.CombinedOutput(); err != nil {
		return fmt.Errorf("bolt_file write: %v: %s", err, out)
	}
	db, err := bbolt.Open(path, 0600, &bbolt.Options{NoFreelistSync: random.Intn(2) == 0, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer db.Close()
	if got := db.Info().PageSize; got != pageSize {
		return fmt.Errorf("page size %d, written with %d", got, pageSize)
	}
	found, err := contentOf(db)
	if err != nil {
		return err
	}
	var want lines
	for _, name := range sorted(content) {
		want = append(want, fmt.Sprintf("bucket %s 0", hexOf([]byte(name))))
		for _, key := range sorted(content[name]) {
			want = append(want, fmt.Sprintf("put %s %s", hexOf([]byte(key)), hexOf(content[name][key])))
		}
		want = append(want, "end")
	}
	if err := differ(want, found); err != nil {
		return fmt.Errorf("as written: %w", err)
	}
	return changeAndCompare(tool, path, db, random, false)
}

func itsFile(tool, path string, random *rand.Rand) error {
	db, err := bbolt.Open(path, 0600, &bbolt.Options{
		PageSize:       1024 << random.Intn(5),
		NoFreelistSync: random.Intn(2) == 0,
		FreelistType:   []bbolt.FreelistType{bbolt.FreelistMapType, bbolt.FreelistArrayType}[random.Intn(2)],
		NoSync:         true,
	})
	if err != nil {
		return err
	}
	defer db.Close()
	return changeAndCompare(tool, path, db, random, true)
}

// Some transactions of bbolt, after each of which its check and our reader must agree that all is well.
func changeAndCompare(tool, path string, db *bbolt.DB, random *rand.Rand, nested bool) error {
	db.NoSync = true
	for i := range 6 {
		err := db.Update(func(tx *bbolt.Tx) error {
			for range 1 + random.Intn(3) {
				b, err := tx.CreateBucketIfNotExists(fmt.Appendf(nil, "bucket%d", random.Intn(5)))
				if err != nil {
					return err
				}
				if err := change(b, random, nested, 0); err != nil {
					return err
				}
			}
			// What lies in the file already is changed too, whatever wrote it.
			return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error { return deleteSome(b, random) })
		})
		if err != nil {
			return err
		}
		want, err := contentOf(db)
		if err != nil {
			return fmt.Errorf("after transaction %d: %w", i, err)
		}
		out, err := exec.Command(tool, "dump", path).CombinedOutput()
		if err != nil {
			return fmt.Errorf("after transaction %d: bolt_file dump: %v: %s", i, err, out)
		}
		if err := differ(want, strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")); err != nil {
			return fmt.Errorf("after transaction %d: %w", i, err)
		}
	}
	return nil
}

func change(b *bbolt.Bucket, random *rand.Rand, nested bool, depth int) error {
	if err := b.SetSequence(uint64(random.Intn(100))); err != nil {
		return err
	}
	for range []int{0, 5, 600}[random.Intn(3)] {
		key := []byte(randomKey(random))
		if b.Bucket(key) != nil {
			continue
		}
		if err := b.Put(key, randomValue(random)); err != nil {
			return err
		}
	}
	if !nested || depth == 3 || random.Intn(2) == 0 {
		return nil
	}
	inner, err := b.CreateBucketIfNotExists(fmt.Appendf(nil, "inner bucket %d", random.Intn(3)))
	if err != nil {
		return err
	}
	return change(inner, random, nested, depth+1)
}

func deleteSome(b *bbolt.Bucket, random *rand.Rand) error {
	oneIn := []int{1, 2, 10}[random.Intn(3)]
	var keys [][]byte
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if v != nil && random.Intn(oneIn) == 0 {
			keys = append(keys, bytes.Clone(k))
		}
	}
	for _, k := range keys[:min(len(keys), random.Intn(1000))] {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func contentOf(db *bbolt.DB) (lines, error) {
	var out lines
	err := db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return walk(tx.Cursor().Bucket(), &out)
	})
	return out, err
}

func walk(b *bbolt.Bucket, out *lines) error {
	return b.ForEach(func(k, v []byte) error {
		if v != nil {
			*out = append(*out, fmt.Sprintf("put %s %s", hexOf(k), hexOf(v)))
			return nil
		}
		inner := b.Bucket(k)
		*out = append(*out, fmt.Sprintf("bucket %s %d", hexOf(k), inner.Sequence()))
		if err := walk(inner, out); err != nil {
			return err
		}
		*out = append(*out, "end")
		return nil
	})
}

func differ(want, got lines) error {
	for i := range max(len(want), len(got)) {
		w, g := "nothing", "nothing"
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			return fmt.Errorf("line %d: want %.100s, got %.100s", i+1, w, g)
		}
	}
	return nil
}

func randomKey(random *rand.Rand) string {
	length := 1 + random.Intn(40)
	if random.Intn(200) == 0 {
		length = 1 + random.Intn(5000)
	}
	key := make([]byte, length)
	random.Read(key)
	return string(key)
}

func randomValue(random *rand.Rand) []byte {
	length := random.Intn(200)
	if random.Intn(100) == 0 {
		length = random.Intn(60000)
	}
	value := make([]byte, length)
	random.Read(value)
	return value
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
